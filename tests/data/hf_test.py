import pickle
import re
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d2v_jax.data import hf as hf_lib
from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.hf import HfRows
from tests.data.hf_sets import datasets, hf, make

__all__ = ["hf"]  # a fixture


def texts(*values):
  return make({"text": list(values)}, {"text": datasets.Value("string")})


def read(rows):
  return list(rows.texts("text", "text"))


def test_saved_sets(hf, tmp_path):
  both = hf.DatasetDict(train=texts("a", "b"), test=texts("c"))
  both.save_to_disk(tmp_path / "saved")
  path = str(tmp_path / "saved")
  rows = hf_lib.load(path, "train")
  assert len(rows) == 2 and read(rows) == ["a", "b"]
  assert rows.row_name(1) == f"{path}/train[1]"
  # The files stay where they are, also for another process.
  assert rows.dataset.cache_files[0]["filename"].startswith(path)
  assert read(pickle.loads(pickle.dumps(rows))) == ["a", "b"]
  texts("d").save_to_disk(tmp_path / "one")
  assert read(hf_lib.load(str(tmp_path / "one"))) == ["d"]
  for split, message in (
    (None, r"split is missing; choose one of: train, test"),
    ("dev", r"no split 'dev'; choose one of: train, test"),
    ("train[:1]", r"no split 'train\[:1\]'; choose one of: train, test, whole"),
  ):
    with pytest.raises(ValueError, match=message):
      hf_lib.load(path, split)
  with pytest.raises(
    ValueError, match=r"it is one set, of no split, and has no"
  ):
    hf_lib.load(str(tmp_path / "one"), "train")


def write(path, *values):
  pq.write_table(pa.table({"text": list(values)}), path)
  return str(path)


def test_files_globs_and_folders(hf, tmp_path):
  one = write(tmp_path / "train-00000-of-00002.parquet", "a", "b")
  write(tmp_path / "train-00001-of-00002.parquet", "c", "d")
  write(tmp_path / "test-00000-of-00001.parquet", "e")
  assert read(hf_lib.load(one)) == ["a", "b"]
  # In the order of the names.
  every = hf_lib.load(str(tmp_path / "train-*.parquet"), "train[:75%]")
  assert read(every) == ["a", "b", "c"]
  assert read(hf_lib.load(str(tmp_path), "test")) == ["e"]
  assert every.dataset.cache_files  # mapped, not in memory
  # What has changed is read anew.
  write(one, "z")
  assert read(hf_lib.load(one)) == ["z"]
  texts("f").save_to_disk(tmp_path / "saved")
  assert read(hf_lib.load(str(tmp_path / "saved/*.arrow"))) == ["f"]


@pytest.mark.parametrize(
  ("path", "options", "message"),
  [
    ("no/such", {}, "is no file or folder here, and the hub cannot be reached"),
    ("no/such", {}, "by datasets.load_dataset into the cache that HF_HOME nam"),
    ("{}/x.parquet", {}, "cannot open .*found none"),
    ("{}/*.csv", {}, "must be files that all end in .parquet, or all in .arr"),
    ("{}/bad.parquet", {}, "cannot open .*bad.parquet': "),
    ("{}/good.parquet", {"split": "dev"}, 'Unknown split "dev"'),
    ("{}/empty.parquet", {}, "generating the dataset: BatchSize must be"),
    ("{}/nothing", {}, "cannot open .*nothing': .* doesn't contain any data f"),
    ("a/b", {"streaming": True}, "streaming=True gives rows in one order only"),
  ],
)
def test_errors(hf, tmp_path, path, options, message):
  (tmp_path / "bad.parquet").write_bytes(b"no table")
  (tmp_path / "a.csv").write_text("text\na\n")
  (tmp_path / "nothing").mkdir()
  write(tmp_path / "good.parquet", "a")
  pq.write_table(
    pa.table({"text": pa.array([], pa.string())}), tmp_path / "empty.parquet"
  )
  with pytest.raises(ValueError, match=message):
    hf_lib.load(path.format(tmp_path), **options)


def test_without_the_package(monkeypatch):
  monkeypatch.setitem(sys.modules, "datasets", None)
  with pytest.raises(ValueError, match=r"pip install 'd2v_jax\[hf\]'"):
    hf_lib.load("a/b", "train")
  assert not hf_lib.is_dataset([1])


def test_labels(hf):
  columns = {
    "label": [1, 0, 1],
    "number": [2, 0, 1],
    "name": ["b", "a", "b"],
    "score": [0.5, 1.5, 2.0],
    "unknown": [-1, 0, -1],
    "gap": [None, 0, 1],
  }
  two = hf.ClassLabel(names=["cat", "dog"])
  types = {"label": two, "unknown": two, "gap": two}
  for name, kind in (
    ("number", "int64"),
    ("name", "string"),
    ("score", "float32"),
  ):
    types[name] = hf.Value(kind)
  rows = HfRows(make(columns, {k: types[k] for k in columns}), "set/train")
  assert rows.labels("label") == ([1, 0, 1], ("cat", "dog"))
  assert rows.labels("number") == ([2, 0, 1], ("0", "1", "2"))
  assert rows.labels("name") == ([1, 0, 1], ("a", "b"))
  assert rows.labels("label", ("x", "y"))[1] == ("x", "y")
  assert rows.labels("score", numeric=True) == ([0.5, 1.5, 2.0], ())
  assert rows.labels(None) == (None, ())
  assert HfRows(texts("a"), "set").labels("label") == (None, ())
  for column, message in (
    ("unknown", "set/train: 'unknown': the label of record 0 is -1, which"),
    ("gap", "'gap': the label of record 0 is missing as of 1 of 3"),
    ("lable", "no column 'lable'; set label to one of: label, number, name"),
  ):
    with pytest.raises(ValueError, match=message):
      rows.labels(column)


PARTS = {"bytes": "binary", "path": "string"}


def test_columns_of_files(hf, tmp_path):
  (tmp_path / "c.png").write_bytes(b"C")
  stored = [
    {"bytes": b"A", "path": "a.png"},
    {"bytes": None, "path": str(tmp_path / "c.png")},
    {"bytes": None, "path": None},
    {"bytes": None, "path": str(tmp_path / "gone.png")},
    None,
  ]
  plain = {k: hf.Value(v) for k, v in PARTS.items()}
  for kind in (hf.Image(), plain):
    rows = HfRows(make({"picture": stored}, {"picture": kind}), "set")
    # One of the type Image is found by it; else it must be named.
    name = "picture" if isinstance(kind, dict) else None
    column = rows.column_of("Image", name, "image")
    assert [column[0], column[1]] == [b"A", b"C"]
    assert column.opened(0).read() == b"A"
    assert column.opened(1) == str(tmp_path / "c.png")
    for index, reason in ((2, "has none"), (3, "it is gone"), (4, "has none")):
      with pytest.raises(Unreadable, match=reason):
        column[index]
    with pytest.raises(Unreadable, match="has none"):
      column.opened(2)
  rows = HfRows(make({"x": [b"A", None]}, {"x": hf.Value("binary")}), "set")
  column = rows.column_of("Image", "x", "image")
  assert column[0] == b"A" and column.opened(0).read() == b"A"
  with pytest.raises(Unreadable, match="has none"):
    column[1]


def test_columns_of_arrays(hf):
  grid = np.arange(12, dtype=np.uint16).reshape(3, 4)
  lists = hf.List(hf.List(hf.Value("uint16")))
  sets = (
    make({"x": [grid.tolist(), None]}, {"x": lists}),
    hf.Dataset.from_dict(
      {"x": [grid]}, features=hf.Features({"x": hf.Array2D((3, 4), "uint16")})
    ),
  )
  for dataset in sets:
    column = HfRows(dataset, "set").column_of("Image", "x", "image")
    assert column[0].dtype == np.uint16
    np.testing.assert_array_equal(column[0], grid)
  column = HfRows(sets[0], "set").column_of("Image", "x", "image")
  with pytest.raises(Unreadable, match="the row has none"):
    column[1]
  broken = {"its rows differ": [[1, 2], [3]], "1 of its numbers": [[1, None]]}
  for reason, value in broken.items():
    rows = HfRows(make({"x": [value]}, {"x": lists}), "set")
    with pytest.raises(Unreadable, match=reason):
      rows.column_of("Image", "x", "image")[0]
  fixed = hf.List(hf.Value("float16"), length=3)
  rows = HfRows(make({"x": [[1, 2, 3], [4, 5, 6]]}, {"x": fixed}), "set")
  np.testing.assert_array_equal(
    rows.column_of("Audio", "x", "audio")[1], np.array([4, 5, 6], np.float16)
  )


def test_columns_that_do_not_fit(hf):
  picture = {"bytes": b"A", "path": None}
  rows = HfRows(
    make(
      {"a": [picture], "b": [picture], "text": ["x"]},
      {"a": hf.Image(), "b": hf.Image(), "text": hf.Value("string")},
    ),
    "set",
  )
  for arguments, message in (
    (
      ("Image", None, "image"),
      "several columns of Image; set image to one of: a",
    ),
    (
      ("Image", "text", "image"),
      "'text' is Value('string'), no image; it must",
    ),
    (
      ("Audio", None, "audio"),
      "no column 'audio'; set audio to one of: a, b, t",
    ),
  ):
    with pytest.raises(ValueError, match=re.escape(message)):
      rows.column_of(*arguments)
  with pytest.raises(
    ValueError, match=r"'a' is .*, no text; set text to one of"
  ):
    rows.check_text("a", "text")
