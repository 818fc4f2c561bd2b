import json
import pickle

import numpy as np
import pytest
import tensorflow_datasets as tfds

from d2v_jax.data.text import sources


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
  source = sources.TextTable(
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
  source = sources.TextTable(table, exclude={"y": "yes"}, text="q")
  assert source[0] == {"text": "a\nb"} and source.class_names == ()
  assert list(source.documents()) == [["a", "b"], ["e"]]
  source = sources.TextTable(table, label="y", classes=("yes", "no"), text="q")
  assert [source[i]["label"] for i in range(3)] == [1, 0, 1]
  with pytest.raises(
    ValueError, match="no column 'text'; it has: q, r, y, split"
  ):
    sources.TextTable(table)
  with pytest.raises(ValueError, match="not a finite number"):
    sources.TextTable(table, label="y", numeric=True, text="q")


def test_numeric_labels(tmp_path):
  path = tmp_path / "scores.tsv"
  path.write_text("text\tscore\na\t1.5\n")
  source = sources.TextTable(path, label="score", numeric=True)
  assert source[0] == {"text": "a", "label": 1.5} and source.class_names == ()


def test_kjv():
  train, test = sources.Kjv(), sources.Kjv("test", label=False)
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
    sources.Kjv("dev")


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
  source = sources.TfdsText(
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
  source = sources.TfdsText("tiny_pairs", "train", tfds_dir, "b", "score")
  scores = sorted(source[i]["label"] for i in range(4))
  assert scores == [0.0, 0.5, 1.0, 1.5] and source.class_names == ()
  source = sources.TfdsText("tiny_pairs", "train", tfds_dir, "b", "none")
  assert set(source[0]) == {"text"}


def test_tfds_errors(tfds_dir, tmp_path):
  with pytest.raises(ValueError, match="text_key from: a, b, label, score"):
    sources.TfdsText("tiny_pairs", "train", tfds_dir)
  with pytest.raises(ValueError, match="text_b_key from: a, b, label, score"):
    sources.TfdsText("tiny_pairs", "train", tfds_dir, "a", text_b_key="c")
  with pytest.raises(ValueError, match="Unknown split 'dev'"):
    sources.TfdsText("tiny_pairs", "dev", tfds_dir, "a")
  for builder in ("glue/sst2", "no_such_thing"):
    with pytest.raises(ValueError, match="not prepared in array_record format"):
      sources.TfdsText(builder, "train", str(tmp_path))


def test_the_table_of_sources():
  assert sorted(sources.SOURCES) == [
    "arrays",
    "glue",
    "hf",
    "kjv",
    "lines",
    "table",
    "tfds",
    "tokens",
  ]
