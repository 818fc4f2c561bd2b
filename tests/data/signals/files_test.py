import numpy as np
import pytest

from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.signals.files import SignalFolder, SignalTable, read

SIGNAL = np.arange(12.0).reshape(4, 3)


@pytest.fixture
def folder(tmp_path):
  for name in ("run/a.npy", "walk/b.csv", "walk/broken.npy"):
    (tmp_path / name).parent.mkdir(exist_ok=True)
  np.save(tmp_path / "run/a.npy", SIGNAL)
  lines = [",".join(map(str, row)) for row in SIGNAL]
  (tmp_path / "walk/b.csv").write_text("\n".join(["x, y,z", *lines]) + "\n")
  (tmp_path / "walk/broken.npy").write_bytes(b"\x93NUMPY")
  return tmp_path


def test_a_folder(folder):
  source = SignalFolder(str(folder), rate=50.0)
  assert source.class_names == ("run", "walk")
  assert source.sizes.tolist() == [4, 4, 0]
  assert source.rates.tolist() == [50, 50, 50]
  for i in range(2):
    np.testing.assert_array_equal(source[i]["signal"], SIGNAL)
    assert source[i]["label"] == i
  with pytest.raises(Unreadable, match="no numbers can be read"):
    _ = source[2]


def test_a_table(folder):
  rows = ["path,rate,who,split"]
  rows += ["run/a.npy,50,ann,train", "walk/b.csv,25.5,ben,test"]
  (folder / "all.csv").write_text("\n".join(rows) + "\n")
  source = SignalTable(str(folder / "all.csv"), label="who", split="test")
  assert source.rates.tolist() == [25.5] and source.class_names == (
    "ann",
    "ben",
  )
  assert source[0]["label"] == 1
  chosen = SignalTable(
    str(folder / "all.csv"), columns=("z", "x"), split="test"
  )
  np.testing.assert_array_equal(chosen[0]["signal"], SIGNAL[:, [2, 0]])
  (folder / "all.csv").write_text("\n".join([*rows[:2], "walk/b.csv,fast,,"]))
  with pytest.raises(ValueError, match="'rate' is 'fast'; it must be the samp"):
    SignalTable(str(folder / "all.csv"))


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("a.csv", "x,y\n1,2\n3,north\n", "no numbers can be read from it"),
    ("a.csv", "x,y\n1,2\n3\n", "row 1 has 1 values and the first line 2 names"),
    ("a.csv", "x,y\n1,5,2,5\n", "row 0 has 4 values .* decimals with a point"),
    ("a.csv", "x,y\n1,2#3\n", "no numbers can be read from it"),
    ("a.csv", "x,y\n1,\n", "no numbers can be read from it"),
    ("a.csv", "x;y\n1;2\n", "it has no column 'x', only x;y"),
    ("a.csv", "x,y,y\n1,2,3\n", "it has more than one column 'y'"),
    ("a.csv", "x,z\n1,2\n", "it has no column 'y', only x, z"),
    ("a.npy", np.ones(4), r"it has float64 \[4\], not numbers \[samples, chan"),
  ],
)
def test_what_is_refused(tmp_path, name, content, message):
  path = tmp_path / name
  if isinstance(content, str):
    path.write_text(content)
  else:
    np.save(path, content)
  with pytest.raises(Unreadable, match=message):
    read(str(path), ("x", "y"))


def test_rows_as_spreadsheets_write_them(tmp_path):
  path = tmp_path / "a.csv"
  path.write_bytes(
    b'\xef\xbb\xbf"time","x","y"\r\n"10:00, noon","1","2e0"\r\n\r\n'
    b'10:01, 3,"-4"\r\n'
  )
  np.testing.assert_array_equal(read(str(path), ("y", "x")), [[2, 1], [-4, 3]])


def test_a_first_line_of_numbers_is_not_lost(tmp_path):
  path = tmp_path / "a.csv"
  path.write_text("1.5,2\n3,4\n")
  with pytest.raises(Unreadable, match=r"first line is 1\.5, 2: numbers"):
    read(str(path))
