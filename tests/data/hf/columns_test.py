import numpy as np
import pytest

from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.hf.rows import HfRows
from tests.data.hf.sets import hf, make

__all__ = ["hf"]  # a fixture


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
