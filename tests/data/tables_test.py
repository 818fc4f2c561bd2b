import gzip
import os
import pickle

import pytest

from d2v_jax.data.tables import Table

TSV = (
  "path\ttext\tspeaker\tsplit\tmark\n"
  'a.wav\tsay "a"\tanna\ttrain\t1.5\n'
  "b.wav\t\tbert\ttrain\t2\n"
  "\n"
  "c.wav\tc\u2028c\ttheo\ttest\t-3e1\n"
)


@pytest.fixture
def path(tmp_path):
  file = tmp_path / "table.tsv"
  file.write_bytes(TSV.encode())
  return file


def write(tmp_path, text, name="other.tsv"):
  file = tmp_path / name
  file.write_bytes(text.encode())
  return file


def test_rows_are_the_file(path):
  table = Table(path)
  assert table.columns == ("path", "text", "speaker", "split", "mark")
  assert len(table) == 3 and table.labels is None and table.class_names == ()
  # Quotes within a value are its own, and only a newline ends a line.
  assert list(table.column("text")) == ['say "a"', "", "c\u2028c"]
  assert [table.name(i) for i in range(3)] == [f"{path}:{n}" for n in (2, 3, 5)]
  assert list(pickle.loads(pickle.dumps(table)).rows) == list(table.rows)


def test_other_files_have_the_same_rows(path, tmp_path):
  rows = list(Table(path).rows)
  zipped = tmp_path / "zipped.tsv.gz"
  zipped.write_bytes(gzip.compress(TSV.encode()))
  windows = tmp_path / "windows.tsv"
  windows.write_bytes(b"\xef\xbb\xbf" + TSV.replace("\n", "\r\n").encode())
  lines = (
    '{"path": "a.wav", "text": "say \\"a\\"", "speaker": "anna", '
    '"split": "train", "mark": 1.5}\n'
    '{"path": "b.wav", "text": null, "speaker": "bert", "split": "train", '
    '"mark": 2}\n'
    '{"split": "test", "path": "c.wav", "text": "c\\u2028c", '
    '"speaker": "theo", "mark": "-3e1"}'
  )
  jsonl = write(tmp_path, lines, "rows.jsonl")
  zipped_jsonl = tmp_path / "rows.jsonl.gz"
  zipped_jsonl.write_bytes(gzip.compress(lines.encode()))
  for file in (zipped, windows, jsonl, zipped_jsonl):
    assert list(Table(file).rows) == rows


def test_absent_json_keys_are_empty(tmp_path):
  file = write(tmp_path, '{"a": "1"}\n{"b": true}', "rows.jsonl")
  assert list(Table(file).rows) == [{"a": "1", "b": ""}, {"a": "", "b": "true"}]


def test_chosen_rows(path):
  def paths(**choice):
    return [row["path"] for row in Table(path, **choice).rows]

  assert paths(split="train") == ["a.wav", "b.wav"]
  assert paths(only={"split": "train"}) == ["a.wav", "b.wav"]
  assert paths(only={"speaker": ("anna", "theo")}) == ["a.wav", "c.wav"]
  assert paths(exclude={"speaker": ("theo",)}) == ["a.wav", "b.wav"]
  assert paths(split="train", exclude={"speaker": "anna"}) == ["b.wav"]
  assert paths(only={"mark": 2}) == ["b.wav"]
  assert Table(path, split="test").name(0) == f"{path}:5"


def test_labels(path):
  table = Table(path, split="test", label="speaker")
  # Numbered over the whole file, so that splits agree.
  assert table.class_names == ("anna", "bert", "theo") and table.labels == [2]
  given = Table(path, split="test", label="speaker", classes=("theo", "x"))
  assert given.class_names == ("theo", "x") and given.labels == [0]
  numeric = Table(path, label="mark", numeric=True)
  assert numeric.labels == [1.5, 2.0, -30.0] and numeric.class_names == ()


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"split": "dev"}, r"split: no row .* split='dev'; .* 'test', 'train'"),
    ({"only": {"who": "x"}}, "only: .* no column 'who'; it has: path, text, s"),
    ({"exclude": {"speaker": ("theo", "thoe")}}, "exclude: .*speaker='thoe'; "),
    ({"only": {"speaker": ()}}, "the column has: 'anna', 'bert', 'theo'"),
    (
      {"split": "test", "exclude": {"speaker": "theo"}},
      "no row .* is left by .*; split has 'test', 'train'; speaker has 'anna'",
    ),
    ({"split": "test", "only": {"split": "x"}}, "choose the split in one of"),
    ({"label": "digit"}, "label: .* no column 'digit'; it has: path"),
    (
      {"label": "text"},
      r"table.tsv:3: 'text' is missing, as in 1 of 3 rows; .*exclude=",
    ),
    (
      {"label": "speaker", "classes": ("anna", "bert")},
      r"table.tsv:5: 'speaker' is 'theo', .* the classes 'anna', 'bert'",
    ),
    ({"label": "speaker", "classes": ("a", "a")}, "classes has a class twice"),
    (
      {"label": "speaker", "numeric": True},
      r"table.tsv:2: 'speaker' is 'anna', which is not a finite number",
    ),
    (
      {"label": "mark", "numeric": True, "classes": ("1",)},
      "give classes or numeric=True, not both",
    ),
    ({"numeric": True}, "numeric=True but no label column; set label"),
  ],
)
def test_errors_of_arguments(path, arguments, message):
  with pytest.raises(ValueError, match=message):
    Table(path, **arguments)


@pytest.mark.parametrize(
  ("name", "text", "message"),
  [
    ("a.xlsx", "a,b", r"must end in one of: .csv, .tsv, .jsonl, .csv.gz"),
    ("a.tsv", "a\tb\n1\n", "a.tsv:2: 1 columns, but the header has 2"),
    ("a.tsv", "a\tb\n1\t2\t3\n", "a.tsv:2: 3 columns, but the header has 2"),
    ("a.tsv", "a\ta\n", "header has a column twice: a, a"),
    ("a.tsv", "a\tb\n", "has no rows"),
    ("a.tsv", "", "has no rows"),
    ("a.tsv.gz", "a\tb\n", "cannot read .*: Not a gzipped file"),
    ("a.jsonl", '{"a": 1}\n{"a": ', "a.jsonl:2: bad JSON"),
    ("a.jsonl", "[1]", "a.jsonl:1: a line must be a JSON object, got list"),
    ("a.jsonl", '{"a": [1]}', "a.jsonl:1: 'a' must be text, .* got list"),
  ],
)
def test_errors_of_files(tmp_path, name, text, message):
  with pytest.raises(ValueError, match=message):
    Table(write(tmp_path, text, name))


def test_other_errors_of_files(tmp_path):
  with pytest.raises(ValueError, match=r"no such file: .*missing.tsv"):
    Table(tmp_path / "missing.tsv")
  os.mkfifo(tmp_path / "pipe.tsv")  # to open it would wait for ever
  with pytest.raises(ValueError, match=r"cannot read .*: a pipe, no file"):
    Table(tmp_path / "pipe.tsv")
  latin = tmp_path / "latin.tsv"
  latin.write_bytes("a\n\xe4\n".encode("latin-1"))
  with pytest.raises(
    ValueError, match=r"cannot read .*:2: 'a' is not UTF-8: \\"
  ):
    Table(latin)
  cut = tmp_path / "cut.tsv.gz"
  cut.write_bytes(gzip.compress(TSV.encode())[:-12])
  with pytest.raises(ValueError, match="cannot read"):
    Table(cut)


@pytest.mark.parametrize(
  "labels", [("1", "1.0"), ("cat", "cat "), ("caf\u00e9", "cafe\u0301")]
)
def test_classes_that_look_alike(tmp_path, labels):
  rows = "".join(f"x\t{label}\n" for label in labels)
  file = write(tmp_path, f"text\tlabel\n{rows}")
  with pytest.raises(
    ValueError, match=r"'label' has the classes .*, which diff"
  ):
    Table(file, label="label")
  assert Table(file, label="label", classes=labels).labels == [0, 1]


def test_rows_without_a_label_are_left_out_by_name(path, tmp_path):
  assert Table(path, label="text", exclude={"text": ""}).labels == [1, 0]
  file = write(tmp_path, '{"a": 1}\n{"a": 1.0}\n{"a": null}\n', "rows.jsonl")
  chosen = Table(file, label="a", only={"a": 1})
  assert chosen.class_names == ("1",) and chosen.labels == [0, 0]


def test_several_classes_of_a_row(tmp_path):
  rows = 'tags,split\n"rain,dog",train\n,train\n"wind",test\n'
  file = write(tmp_path, rows, "sounds.csv")
  table = Table(file, split="train", label="tags", label_separator=",")
  # All rows are numbered alike, whichever are chosen.
  assert table.class_names == ("dog", "rain", "wind")
  assert table.labels == [(0, 1), ()]
  test = Table(file, split="test", label="tags", label_separator=",")
  assert test.labels == [(2,)] and test.class_names == table.class_names
  given = Table(
    file,
    split="test",
    label="tags",
    label_separator=",",
    classes=("wind", "rain"),
  )
  assert given.labels == [(0,)] and given.class_names == ("wind", "rain")
  lists = write(
    tmp_path,
    '{"tags": ["rain", "dog"]}\n{"tags": []}\n{"tags": "wind"}\n',
    "sounds.jsonl",
  )
  table = Table(lists, label="tags", label_separator=",")
  assert table.labels == [(0, 1), (), (2,)]
  # A column of lists is nothing else.
  with pytest.raises(ValueError, match=r"'tags' must be text, .* got list"):
    Table(lists, label="tags")


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (
      {"label_separator": ","},
      "label_separator=',' and numeric=False but no label",
    ),
    (
      {"label": "mark", "label_separator": ",", "numeric": True},
      "label_separator or numeric=True, not both",
    ),
    (
      {"label": "speaker", "label_separator": ",", "classes": ("anna",)},
      "2 classes are not among the 1 given, the first is 'bert'",
    ),
  ],
)
def test_several_classes_that_are_wrong(path, fields, message):
  with pytest.raises(ValueError, match=message):
    Table(path, **fields)
