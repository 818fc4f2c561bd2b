import gzip
import json
import pickle

import numpy as np
import pytest
import tensorflow_datasets as tfds

from d2v_jax.data.text import documents


@pytest.fixture
def folder(tmp_path):
  (tmp_path / "a.txt").write_text(
    "\ufeffone\r\n two \n\n\n \nthree\u2028four\n", encoding="utf-8"
  )
  (tmp_path / "sub").mkdir()
  with gzip.open(tmp_path / "sub" / "b.txt.gz", "wt") as file:
    file.write("\nfive")
  (tmp_path / "sub" / "wiki_00").write_text("six\n")
  (tmp_path / "sub" / ".hidden.txt").write_text("no\n")
  (tmp_path / "empty.txt").write_text("\n \n")
  return tmp_path


def test_text_files_of_a_folder(folder):
  source = documents.TextFiles(folder)
  texts = ["one", "two", "three\u2028four", "five"]
  for some in (source, pickle.loads(pickle.dumps(source))):
    assert [some[i] for i in range(len(some))] == [{"text": t} for t in texts]
  assert source.class_names == ()
  assert source.record_name(2) == f"{folder / 'a.txt'}:6"
  assert source.record_name(3) == f"{folder / 'sub' / 'b.txt.gz'}:2"


def test_documents_end_at_empty_lines_and_files(folder):
  found = list(documents.TextFiles(folder).documents())
  assert found == [["one", "two"], ["three\u2028four"], ["five"]]


def test_a_file_and_a_glob(folder):
  one = documents.TextFiles(str(folder / "sub" / "wiki_00"))
  assert list(one.documents()) == [["six"]]
  some = documents.TextFiles(str(folder / "*" / "*[0z]"))
  assert list(some.documents()) == [["five"], ["six"]]


def test_text_file_errors(folder):
  for path in ("none.txt", "x*.txt"):
    with pytest.raises(
      ValueError, match=r"it must be a file, a folder with \.txt"
    ):
      documents.TextFiles(folder / path)
  (folder / "a.txt").write_bytes(b"ok\n\xff\n")
  with pytest.raises(ValueError, match=r"cannot read .*a.txt: 'utf-8' codec"):
    len(documents.TextFiles(folder / "a.txt"))
  whole = (folder / "sub" / "b.txt.gz").read_bytes()
  for damaged in (whole[:-9], b"no gzip"):
    (folder / "sub" / "b.txt.gz").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"cannot read .*b.txt.gz"):
      list(documents.TextFiles(folder / "sub").documents())


@pytest.fixture
def table(tmp_path):
  rows = [
    {"q": "a\nb", "r": "c", "y": "no", "split": "train"},
    {"q": "d", "r": "", "y": "yes", "split": "test"},
    {"q": "e", "r": "f\n\ng", "y": "no", "split": "test"},
  ]
  path = tmp_path / "pairs.jsonl"
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return str(path)


def test_table_of_pairs(table):
  source = documents.TextTable(
    table, split="test", label="y", text="q", text_b="r"
  )
  assert source.class_names == ("no", "yes")
  for some in (source, pickle.loads(pickle.dumps(source))):
    assert [some[i] for i in range(len(some))] == [
      {"text": "d", "text_b": "", "label": 1},
      {"text": "e", "text_b": "f\n\ng", "label": 0},
    ]
  assert source.record_name(1) == f"{table}:3"
  assert list(source.documents()) == [["d"], ["e", "f", "g"]]


def test_table_without_labels_and_with_other_classes(table):
  source = documents.TextTable(table, exclude={"y": "yes"}, text="q")
  assert source[0] == {"text": "a\nb"} and source.class_names == ()
  assert list(source.documents()) == [["a", "b"], ["e"]]
  source = documents.TextTable(
    table, label="y", classes=("yes", "no"), text="q"
  )
  assert [source[i]["label"] for i in range(3)] == [1, 0, 1]
  with pytest.raises(
    ValueError, match="no column 'text'; it has: q, r, y, split"
  ):
    documents.TextTable(table)
  with pytest.raises(ValueError, match="not a finite number"):
    documents.TextTable(table, label="y", numeric=True, text="q")


def test_numeric_labels(tmp_path):
  path = tmp_path / "scores.tsv"
  path.write_text("text\tscore\na\t1.5\n")
  source = documents.TextTable(path, label="score", numeric=True)
  assert source[0] == {"text": "a", "label": 1.5} and source.class_names == ()


def test_kjv():
  train, test = documents.Kjv(), documents.Kjv("test", label=False)
  assert (len(train), len(test)) == (5682, 1322)
  assert train.class_names == (
    "Epistles",
    "Gospels/Acts",
    "History",
    "Law",
    "Poetry",
    "Prophets",
    "Revelation",
  )
  assert test[0] == {
    "text": "The Jebusite also, and the Amorite, and the Girgashite,"
  }
  counts = [0] * 7
  for i in range(len(train)):
    counts[train[i]["label"]] += 1
  assert counts == [900] * 6 + [282]
  with pytest.raises(ValueError, match="split"):
    documents.Kjv("dev")


def test_read_takes_tables_and_text_in_order(folder, table):
  found = documents.read([table, str(folder / "a.txt")], "q", "train")
  assert list(found) == [["a", "b"], ["one", "two"], ["three\u2028four"]]
  with pytest.raises(ValueError, match="no text in"):
    documents.read([table, "none"], "q")


class TinyPairs(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  VERSION = tfds.core.Version("1.0.0")
  # TFDS 4.9.10 looks for the code with the package importlib_resources, which
  # it does not declare as a requirement.
  code_path = None

  def _info(self):
    features = {
      "a": tfds.features.Text(),
      "b": tfds.features.Text(),
      "label": tfds.features.ClassLabel(names=["no", "yes"]),
      "score": tfds.features.Scalar(np.float32),
    }
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict(features)
    )

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples()}

  def _generate_examples(self):
    for i in range(4):
      a = f"é{i}\n\nline"
      yield i, {"a": a, "b": f"b{i}", "label": i % 2, "score": i / 2}


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
  path = tmp_path_factory.mktemp("tfds")
  builder = TinyPairs(data_dir=str(path), file_format="array_record")
  builder.download_and_prepare()
  return str(path)


def test_tfds(tfds_dir):
  source = documents.TfdsText(
    "tiny_pairs", "train[:3]", tfds_dir, "a", text_b_key="b"
  )
  source = pickle.loads(pickle.dumps(source))
  assert len(source) == 3 and source.class_names == ("no", "yes")
  assert source.record_name(1) == "tiny_pairs/train[:3][1]"
  for i in range(3):
    number = int(source[i]["text_b"][1])
    assert source[i] == {
      "text": f"é{number}\n\nline",
      "text_b": f"b{number}",
      "label": number % 2,
    }
    assert type(source[i]["label"]) is int
  first = source[0]["text"][:2]
  third = source[0]["text_b"]
  assert next(source.documents()) == [first, "line", third]


def test_tfds_scores_and_no_labels(tfds_dir):
  source = documents.TfdsText("tiny_pairs", "train", tfds_dir, "b", "score")
  scores = sorted(source[i]["label"] for i in range(4))
  assert scores == [0.0, 0.5, 1.0, 1.5] and source.class_names == ()
  source = documents.TfdsText("tiny_pairs", "train", tfds_dir, "b", "none")
  assert set(source[0]) == {"text"}


def test_tfds_errors(tfds_dir, tmp_path):
  with pytest.raises(ValueError, match="text_key from: a, b, label, score"):
    documents.TfdsText("tiny_pairs", "train", tfds_dir)
  with pytest.raises(ValueError, match="text_b_key from: a, b, label, score"):
    documents.TfdsText("tiny_pairs", "train", tfds_dir, "a", text_b_key="c")
  with pytest.raises(ValueError, match="Unknown split 'dev'"):
    documents.TfdsText("tiny_pairs", "dev", tfds_dir, "a")
  for builder in ("glue/sst2", "no_such_thing"):
    with pytest.raises(ValueError, match="not prepared in array_record format"):
      documents.TfdsText(builder, "train", str(tmp_path))


def test_the_table_of_sources():
  assert sorted(documents.SOURCES) == [
    "glue",
    "kjv",
    "lines",
    "table",
    "tfds",
    "tokens",
  ]
