import pathlib
import pickle

import numpy as np
import pytest

from d2v_jax.data.speech import decoding
from d2v_jax.data.speech.manifest import Manifest
from tests.data.speech.recordings import encoded, sine, write_files

HEADER = "path\ttext\tdigit\tspeaker\tsplit\tseconds\n"


@pytest.fixture
def path(tmp_path):
  files = {
    f"audio/{k}.wav": encoded(sine(801 + k), rate=8000) for k in range(4)
  }
  rows = (
    "audio/0.wav\tone\t1\tanna\ttrain\t9\n"
    "audio/1.wav\t\t2\tanna\ttest\t9\n"
    "audio/2.wav\ttwo\t2\tbert\ttrain\t9\n"
    "audio/3.wav\tten\t10\ttheo\ttest\t9\n"
  )
  write_files(tmp_path, files | {"all.tsv": HEADER + rows})
  return str(tmp_path / "all.tsv")


def with_columns(path, name, **columns):
  """Writes a copy of the manifest with more columns, and returns its path."""
  head, *rows = pathlib.Path(path).read_text().splitlines()
  lines = ["\t".join([head, *columns])]
  lines += [
    "\t".join([row, *values])
    for row, values in zip(
      rows, zip(*columns.values(), strict=True), strict=True
    )
  ]
  copy = path.replace("all.tsv", name)
  pathlib.Path(copy).write_text("\n".join(lines) + "\n")
  return copy


def test_records(path):
  source = Manifest(path, label="digit")
  assert source.class_names == ("1", "10", "2") and len(source) == 4
  assert [source[i]["label"] for i in range(4)] == [0, 2, 2, 1]
  assert source[2]["text"] == "two" and "text" not in source[1]
  assert source.texts() == ["one", "", "two", "ten"]
  assert source.record_name(3) == path.replace("all.tsv", "audio/3.wav")
  # From the headers; the column of seconds is wrong.
  truth = [len(decoding.decode(source[i]["audio"])) for i in range(4)]
  assert source.lengths(16_000).tolist() == truth == [1602, 1604, 1606, 1608]
  again = pickle.loads(pickle.dumps(source))
  assert [again[i] for i in range(4)] == [source[i] for i in range(4)]


def test_chosen_rows(path):
  held_out = Manifest(path, exclude={"speaker": ("theo",)}, text=None)
  assert len(held_out) == 3 and held_out.texts() is None
  assert set(held_out[0]) == {"audio"}
  test = Manifest(path, split="test", label="digit", numeric=True)
  assert [test[i]["label"] for i in range(2)] == [2.0, 10.0]
  assert test.class_names == ()
  only = Manifest(path, only={"speaker": "bert"}, label="digit", classes=("2",))
  assert len(only) == 1 and only[0]["label"] == 0


def test_root_and_other_text(path, tmp_path_factory):
  elsewhere = tmp_path_factory.mktemp("elsewhere") / "all.tsv"
  elsewhere.write_text(pathlib.Path(path).read_text())
  with pytest.raises(ValueError, match=r"all.tsv:2: no such file: .*set root"):
    Manifest(str(elsewhere))
  root = path.removesuffix("all.tsv")
  source = Manifest(str(elsewhere), root, text="speaker")
  assert source.texts() == ["anna", "anna", "bert", "theo"]


def test_lengths_without_a_scan(path):
  columns = {"num_samples": ["5", "10", "0", "11"], "rate": ["8000"] * 4}
  source = Manifest(with_columns(path, "counted.tsv", **columns))
  lengths = source.lengths(16_000)
  assert lengths.tolist() == [10, 20, 0, 22] and lengths.dtype == np.int64
  assert source.header(3) == (11, 8000)


def test_errors(path):
  with pytest.raises(ValueError, match="no column 'words'; it has: path, text"):
    Manifest(path, text="words")
  with pytest.raises(
    ValueError, match="no column 'rate', the samples a second"
  ):
    Manifest(with_columns(path, "a.tsv", num_samples=["1"] * 4))
  for rate in ("0", "x", "", "-1", "8000.0"):
    bad = with_columns(path, "b.tsv", rate=["1", rate, "1", "1"])
    match = rf"b.tsv:3: 'rate' must be an integer >= 1, got '{rate}'"
    with pytest.raises(ValueError, match=match):
      Manifest(bad)
  with pytest.raises(ValueError, match=r"0.wav is not an array_record file"):
    Manifest(with_columns(path, "c.tsv", record=["0"] * 4))
