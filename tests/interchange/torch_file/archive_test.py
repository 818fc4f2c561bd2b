"""Archives of torch.save, whole and not."""

import numpy as np
import pytest

from d2v_jax.interchange.torch_file.reader import load
from tests.interchange.torch_file.refusals import refused_bytes
from tests.interchange.torch_file.torch_files import (
  Writer,
  write_zip,
)


def test_big_endian(path):
  truth = np.arange(4, dtype="f4")
  storages = {"0": (4, truth.astype(">f4").tobytes())}
  program = Writer().pickle(truth)
  path.write_bytes(write_zip(program, storages, order=b"big"))
  result = load(path)
  assert result.dtype == np.dtype("f4")
  np.testing.assert_array_equal(result, truth)
  other = write_zip(program, storages, order=b"middle")
  refused_bytes(path, other, "its byte order is b'middle'")


def archive(**changes):
  writer = Writer()
  program = writer.pickle({"w": np.zeros(100_000, "f4")})
  return write_zip(program, writer.storages, **changes)


def test_zip_bombs(path):
  match = r"refused the compressed record .*, \d+ bytes that become \d+"
  refused_bytes(path, archive(compression=8), match)


def test_records_that_overlap_are_refused(path):
  """A directory that lists the same bytes many times."""
  names = [f"archive/data/{k}" for k in range(1, 4)]
  refused_bytes(path, archive(again=names), "records of its archive overlap")


@pytest.mark.parametrize(
  "name",
  [
    "../outside",
    "archive/../../outside",
    "/etc/passwd",
    "archive//x",
    "archive\\..\\x",
    "./x",
  ],
)
def test_paths_outside(path, name):
  refused_bytes(path, archive(more=[(name, b"x")]), "refused the path ")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_other_archives(path):
  writer = Writer()
  program = writer.pickle({})
  plain = write_zip(program, {})
  other = plain.replace(b"data.pkl", b"data.txt")
  refused_bytes(path, other, "a zip archive, but not by torch.save")
  two = write_zip(program, {}, more=[("second/data.pkl", b"x")])
  refused_bytes(path, two, "not by torch.save, which has one data.pkl")
  script = write_zip(program, {}, more=[("archive/constants.pkl", b"x")])
  refused_bytes(path, script, "a TorchScript program, which is code")
  twice = write_zip(program, {}, more=[("archive/version", b"4")])
  refused_bytes(path, twice, "has a record twice")
  behind = write_zip(program + b"N.", {})
  refused_bytes(path, behind, "bytes follow behind the end of its pickle")


def test_damage_is_noticed(path):
  plain = archive()
  at = plain.index(bytes(1000)) + 50_000
  broken = bytearray(plain)
  broken[at] = 1
  match = r"record 'data/0' is not what was written \(CRC-32\)"
  refused_bytes(path, bytes(broken), match)
  lacks = write_zip(Writer().pickle({"w": np.zeros(3, "f4")}), {})
  refused_bytes(path, lacks, "it lacks storage '0'")
