import pickle
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d2v_jax.data.hf.loading import is_dataset, load
from tests.data.hf.sets import hf, texts

__all__ = ["hf"]  # a fixture


def read(rows):
  return list(rows.texts("text", "text"))


def test_saved_sets(hf, tmp_path):
  both = hf.DatasetDict(train=texts("a", "b"), test=texts("c"))
  both.save_to_disk(tmp_path / "saved")
  path = str(tmp_path / "saved")
  rows = load(path, "train")
  assert len(rows) == 2 and read(rows) == ["a", "b"]
  assert rows.row_name(1) == f"{path}/train[1]"
  # The files stay where they are, also for another process.
  assert rows.dataset.cache_files[0]["filename"].startswith(path)
  assert read(pickle.loads(pickle.dumps(rows))) == ["a", "b"]
  texts("d").save_to_disk(tmp_path / "one")
  assert read(load(str(tmp_path / "one"))) == ["d"]
  for split, message in (
    (None, r"split is missing; choose one of: train, test"),
    ("dev", r"no split 'dev'; choose one of: train, test"),
    ("train[:1]", r"no split 'train\[:1\]'; choose one of: train, test, whole"),
  ):
    with pytest.raises(ValueError, match=message):
      load(path, split)
  with pytest.raises(
    ValueError, match=r"it is one set, of no split, and has no"
  ):
    load(str(tmp_path / "one"), "train")


def write(path, *values):
  pq.write_table(pa.table({"text": list(values)}), path)
  return str(path)


def test_files_globs_and_folders(hf, tmp_path):
  one = write(tmp_path / "train-00000-of-00002.parquet", "a", "b")
  write(tmp_path / "train-00001-of-00002.parquet", "c", "d")
  write(tmp_path / "test-00000-of-00001.parquet", "e")
  assert read(load(one)) == ["a", "b"]
  # In the order of the names.
  every = load(str(tmp_path / "train-*.parquet"), "train[:75%]")
  assert read(every) == ["a", "b", "c"]
  assert read(load(str(tmp_path), "test")) == ["e"]
  assert every.dataset.cache_files  # mapped, not in memory
  # What has changed is read anew.
  write(one, "z")
  assert read(load(one)) == ["z"]
  texts("f").save_to_disk(tmp_path / "saved")
  assert read(load(str(tmp_path / "saved/*.arrow"))) == ["f"]


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
    load(path.format(tmp_path), **options)


def test_without_the_package(monkeypatch):
  monkeypatch.setitem(sys.modules, "datasets", None)
  with pytest.raises(ValueError, match=r"pip install 'd2v_jax\[hf\]'"):
    load("a/b", "train")
  assert not is_dataset([1])
