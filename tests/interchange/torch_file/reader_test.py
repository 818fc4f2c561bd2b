"""Whole files, and those of PyTorch itself."""

import argparse
import collections
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from d2v_jax.interchange.torch_file.reader import load
from d2v_jax.interchange.weights import InterchangeError
from tests.interchange.torch_file.refusals import refused_bytes
from tests.interchange.torch_file.torch_files import (
  Call,
  Global,
  Object,
  Raw,
  Writer,
  save,
  write_legacy,
)

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "b1"]


def test_values(path, legacy):
  values = {
    "text": "größer",
    "numbers": [0, -1, 255, 70_000, 2**40, 10**30, 2.5, float("-inf")],
    "constants": (None, True, False, ()),
    "bytes": b"\x00\xff",
    3: {"nested": [{}, [], (1, (2, 3))]},
    "ordered": collections.OrderedDict(b=1, a=2),
    "scalar": np.float64(0.125),
  }
  save(path, values, legacy=legacy)
  result = load(path)
  assert result == values
  assert list(result["ordered"]) == ["b", "a"]
  assert type(result["ordered"]) is dict
  assert type(result["scalar"]) is np.float64


def test_legacy_views_of_a_storage(path):
  """Files of before 1.6 may say that a storage is a part of another."""
  pid = ("storage", Global("torch", "FloatStorage"), "7", "cpu", 6)
  writer = Writer(legacy=True)
  part = Raw(writer._any((*pid, ("8", 2, 3))) + b"Q")
  make = Global("torch._utils", "_rebuild_tensor")
  program = writer.pickle(Call(make, (part, 1, (2,), (1,))))
  content = np.arange(6, dtype="f4").tobytes()
  path.write_bytes(write_legacy(program, {"7": (6, content)}))
  np.testing.assert_array_equal(load(path), [3, 4])
  far = Raw(writer._any((*pid, ("8", 4, 3))) + b"Q")
  program = writer.pickle(Call(make, (far, 0, (3,), (1,))))
  broken = write_legacy(program, {"7": (6, content)})
  refused_bytes(path, broken, "reaches beyond its storage of 6 elements")


def test_nothing_is_imported(tmp_path):
  """Not even a known name leads to an import of what it names."""
  path = tmp_path / "model.pt"
  save(path, Object("fairseq.data.dictionary", "Dictionary", {"a": 1}))
  script = f"""
    import sys
    from d2v_jax.interchange.torch_file.reader import load
    before = set(sys.modules)
    print(load({str(path)!r}))
    new = {{m.split(".")[0] for m in set(sys.modules) - before}}
    assert not new & {{"fairseq", "torch", "pickle5"}}, new
  """
  done = subprocess.run(
    [sys.executable, "-c", textwrap.dedent(script)],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout == "{'a': 1}\n"


def example(path, legacy):
  rng = np.random.default_rng(0)
  weights = rng.standard_normal((4, 5)).astype("f4")
  model = collections.OrderedDict(a=weights, b=weights.T, c=weights > 0)
  arguments = argparse.Namespace(x=1, y=[(1, 2.5, None)])
  save(path, {"model": model, "args": arguments, "z": b"12"}, legacy=legacy)
  return path.read_bytes()


def test_truncated_anywhere(path, legacy):
  content = example(path, legacy)
  for n in range(0, len(content), 3):
    path.write_bytes(content[:n])
    with pytest.raises(InterchangeError):
      load(path)


def test_changed_anywhere(path, legacy):
  """What comes of a changed byte is a value or an InterchangeError."""
  content = bytearray(example(path, legacy))
  rng = np.random.default_rng(1)
  failed = 0
  places = range(0, len(content), 5)
  for at in places:
    changed = content.copy()
    changed[at] = rng.integers(256)
    path.write_bytes(changed)
    try:
      load(path)
    except InterchangeError:
      failed += 1
  assert failed > len(places) // 4


@pytest.mark.parametrize(
  ("content", "match"),
  [
    (b"", "the file is empty; was its download cut off"),
    (b"<!DOCTYPE html><html>", "a web page: the download of the file failed"),
    (b"\n <html>", "a web page"),
    (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    (b"\x10\0\0\0\0\0\0\0{}" + b" " * 14, "safetensors"),
    (b"\x1f\x8b\x08\0" * 9, "gzip"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"\x93NUMPY\x01\0", "an array of NumPy"),
    (b'{"a": 1}', "JSON"),
    (b"PK", "a zip archive, damaged or cut off"),
    (b"\0" * 257 + b"ustar" + b"\0" * 250, "a tar archive"),
    (pickle.dumps({"a": 1}), "a pickle, but cut off or not by torch.save"),
    (pickle.dumps(7), "a pickle"),
    (b"\0" * 100, "neither a zip archive nor PyTorch's older layout"),
  ],
)
def test_other_files(path, content, match):
  refused_bytes(path, content, match)


def test_no_file(tmp_path):
  with pytest.raises(InterchangeError, match=r"nothing\.pt does not exist"):
    load(tmp_path / "nothing.pt")
  with pytest.raises(InterchangeError, match="is a folder"):
    load(tmp_path)


@pytest.fixture
def torch():
  return pytest.importorskip("torch", reason="PyTorch is not installed")


def same(ours, theirs, torch):
  if isinstance(theirs, torch.Tensor):
    wide = theirs.dtype == torch.bfloat16
    truth = (theirs.float() if wide else theirs).detach().numpy()
    assert ours.dtype == truth.dtype and ours.shape == truth.shape
    np.testing.assert_array_equal(ours, truth)
  elif isinstance(theirs, dict):
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
      same(ours[key], value, torch)
  elif isinstance(theirs, list | tuple):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
      same(a, b, torch)
  else:
    assert ours == theirs


def torch_example(torch):
  generator = torch.Generator().manual_seed(0)
  x = torch.randn(4, 6, generator=generator)
  kinds = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool"
  values = {kind: (3 * x).to(getattr(torch, kind)) for kind in kinds.split()}
  views = [x, x.T, x[1:3, ::2], x[:, 3], x[0, 0], x[:0], x[:1].expand(3, 6)]
  net = torch.nn.Sequential(torch.nn.Linear(6, 3), torch.nn.BatchNorm1d(3))
  optimizer = torch.optim.AdamW(net.parameters())
  net(x).sum().backward()
  optimizer.step()
  return {
    "values": values,
    "views": views,
    "model": net.state_dict(),
    "parameter": torch.nn.Parameter(x.clone()),
    "optimizer": optimizer.state_dict(),
    "size": x.shape,
    "epoch": 3,
  }


def test_torch_files(path, legacy, torch):
  truth = torch_example(torch)
  torch.save(truth, path, _use_new_zipfile_serialization=not legacy)
  result = load(path)
  same(result, truth, torch)
  assert np.shares_memory(result["views"][0], result["views"][1])


def test_torch_values(path, torch):
  values = {
    "args": argparse.Namespace(lr=1e-3, layers="[(512, 10, 5)]"),
    "type": torch.float16,
    "device": torch.device("cpu"),
    "best": np.float64(0.5),
    "counts": np.arange(3),
  }
  torch.save(values, path)
  result = load(path)
  assert result["args"] == vars(values["args"])
  assert (result["type"], result["device"]) == ("torch.float16", "cpu")
  assert result["best"] == 0.5
  np.testing.assert_array_equal(result["counts"], [0, 1, 2])


def test_torch_reads_what_we_write(path, legacy, torch):
  whole = np.arange(24, dtype="f4").reshape(4, 6)
  truth = {
    "w": collections.OrderedDict(a=whole, b=whole.T, c=whole[1:, ::2]),
    "others": [np.ones(3, d) for d in DTYPES],
    "x": [1, "a", (None, 2.5)],
  }
  save(path, truth, legacy=legacy)
  same(truth, torch.load(path, weights_only=True), torch)
  same(load(path), torch.load(path, weights_only=True), torch)


def test_torch_modules_are_refused(path, legacy, torch):
  torch.save(
    torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=not legacy
  )
  match = r"refused to import torch\.nn\.modules\.linear\.Linear"
  with pytest.raises(InterchangeError, match=match):
    load(path)
