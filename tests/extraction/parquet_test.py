"""Rows of a table are examples, whatever their axes and labels."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from d2v_jax.extraction.feature_table import FeatureTable
from d2v_jax.extraction.parquet import write_parquet

RNG = np.random.default_rng(0)


def table(shape, sizes=None, labels=None, names=None, metadata=None):
  count = 1500 if sizes is None else len(sizes)
  rows = count if sizes is None else sum(sizes)
  order = RNG.permutation(count)
  lengths = np.ones(count, int) if sizes is None else np.array(sizes)
  starts = np.zeros(count, int)
  starts[order] = np.cumsum([0, *lengths[order][:-1]])
  return FeatureTable(
    RNG.normal(size=(rows, *shape)).astype("<f4"),
    starts,
    None if sizes is None else lengths,
    names or [f"{i}.png" for i in range(count)],
    labels,
    metadata or {},
  )


@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_groups_of_rows(shape, tmp_path):
  made = table(shape)
  write_parquet(tmp_path / "x.parquet", made)
  assert pq.ParquetFile(tmp_path / "x.parquet").num_row_groups == 2
  found = pq.read_table(tmp_path / "x.parquet")
  assert found.column_names == ["name", "features"]
  expected = np.stack([made.example(i) for i in range(1500)])
  np.testing.assert_array_equal(found["features"].to_pylist(), expected)


def test_tokens(tmp_path):
  made = table((4,), sizes=[2, 5, 1])
  write_parquet(tmp_path / "x.parquet", made)
  found = pq.read_table(tmp_path / "x.parquet")["features"].to_pylist()
  for i, tokens in enumerate(found):
    np.testing.assert_array_equal(tokens, made.example(i))


def test_sets_of_classes_and_odd_names(tmp_path):
  labels = np.array([[True, False], [True, True]])
  names = ["a\udcff.png", "two\nlines"]
  made = table((4,), [1, 1], labels, names, {"class_names": ["cat", "dog"]})
  write_parquet(tmp_path / "x.parquet", made)
  found = pq.read_table(tmp_path / "x.parquet")
  assert found["label"].to_pylist() == labels.tolist()
  assert found["name"].to_pylist() == [r"a\udcff.png", r"two\nlines"]
  assert "class" not in found.column_names


def test_a_data_frame(tmp_path):
  pandas = pytest.importorskip("pandas")
  labels = np.arange(1500, dtype=np.int32) % 2
  made = table((4,), labels=labels, metadata={"class_names": ["cat", "dog"]})
  write_parquet(tmp_path / "x.parquet", made)
  frame = pandas.read_parquet(tmp_path / "x.parquet")
  assert np.stack(frame["features"]).shape == (1500, 4)
  assert frame["class"][:2].tolist() == ["cat", "dog"]
