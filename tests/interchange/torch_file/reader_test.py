import argparse
import collections
import pickle
import struct
import subprocess
import sys
import textwrap
import tracemalloc

import ml_dtypes
import numpy as np
import pytest

from d2v_jax.interchange.torch_file.reader import load
from d2v_jax.interchange.weights import InterchangeError
from tests.interchange.torch_file.torch_files import (
  Call,
  Global,
  Object,
  Raw,
  Tensor,
  Writer,
  save,
  write_legacy,
  write_zip,
)

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "b1"]


@pytest.fixture(params=[False, True], ids=["zip", "legacy"])
def legacy(request):
  return request.param


@pytest.fixture
def path(tmp_path):
  return tmp_path / "model.pt"


def refused(path, obj, match, legacy=False):
  save(path, {"model": obj}, legacy=legacy)
  with pytest.raises(InterchangeError, match=match) as caught:
    load(path)
  assert str(caught.value).startswith(f"{path}: ")


def refused_bytes(path, content, match):
  path.write_bytes(content)
  with pytest.raises(InterchangeError, match=match):
    load(path)


def tensor(**changes):
  known = {
    "content": np.arange(6, dtype="f4").tobytes(),
    "storage": "FloatStorage",
    "numel": 6,
    "offset": 0,
    "size": (2, 3),
    "stride": (3, 1),
  }
  return Tensor(**known | changes)


# What it reads.


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


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(path, legacy, dtype):
  truth = (np.arange(12) % 5).astype(dtype).reshape(3, 4)
  save(path, {"w": truth}, legacy=legacy)
  result = load(path)["w"]
  assert type(result) is np.ndarray and result.dtype == np.dtype(dtype)
  np.testing.assert_array_equal(result, truth)


def test_bfloat16_becomes_float32(path, legacy):
  truth = np.array([1.0, -2.5, 3e38, 0.1], ml_dtypes.bfloat16)
  save(path, truth, legacy=legacy)
  result = load(path)
  assert result.dtype == np.float32
  np.testing.assert_array_equal(result, truth.astype("f4"))


def test_views_share_a_storage(path, legacy):
  whole = np.arange(24, dtype="f4").reshape(4, 6)
  views = {
    "whole": whole,
    "turned": whole.T,
    "part": whole[1:3, ::2],
    "row": whole[3],
    "scalar": whole[2:3, 2:3].reshape(()),
    "empty": whole[:0],
  }
  save(path, views, legacy=legacy)
  result = load(path)
  for name, view in views.items():
    assert result[name].shape == view.shape
    np.testing.assert_array_equal(result[name], view)
  assert np.shares_memory(result["whole"], result["turned"])
  assert np.shares_memory(result["whole"], result["part"])
  assert not result["whole"].flags.writeable


def test_repeated_elements(path):
  repeated = tensor(size=(5, 3), stride=(0, 1))
  save(path, repeated)
  np.testing.assert_array_equal(load(path), [[0, 1, 2]] * 5)


def test_objects_are_dicts_of_their_attributes(path, legacy):
  arguments = argparse.Namespace(arch="base", layers=[(512, 10, 5)])
  symbols = {"symbols": ["<s>", "E"], "indices": {"<s>": 0, "E": 1}}
  dictionary = Object("fairseq.data.dictionary", "Dictionary", symbols)
  save(path, {"args": arguments, "state": dictionary}, legacy=legacy)
  result = load(path)
  assert result == {
    "args": {"arch": "base", "layers": [(512, 10, 5)]},
    "state": symbols,
  }
  assert type(result["args"]) is dict


def test_attributes_shadow_nothing(path):
  attributes = {"__class__": "x", "__dict__": {"y": 1}, "__setstate__": 2}
  save(path, Object("argparse", "Namespace", attributes))
  assert load(path) == attributes
  assert not hasattr(argparse.Namespace, "y")


def test_types_sizes_devices_and_parameters(path):
  weight = np.arange(3, dtype="f4")
  rebuild = Global("torch._utils", "_rebuild_parameter")
  values = [
    Global("torch", "float16"),
    Call(Global("torch", "Size"), ((2, 3),)),
    Call(Global("torch", "device"), ("cuda", 1)),
    Call(rebuild, (weight, True, {})),
  ]
  save(path, values)
  *others, parameter = load(path)
  assert others == ["torch.float16", (2, 3), "cuda:1"]
  np.testing.assert_array_equal(parameter, weight)


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


# What it refuses to run.


@pytest.mark.parametrize("as_legacy", [False, True])
def test_a_reduced_os_system_does_not_run(path, tmp_path, as_legacy):
  marker = tmp_path / "ran"

  class Evil:
    def __reduce__(self):
      import os

      return os.system, (f"touch {marker}",)

  program = pickle.dumps({"model": Evil()}, 2)
  pickle.loads(program)  # it is a real one
  assert marker.exists()
  marker.unlink()
  write = write_legacy if as_legacy else write_zip
  match = r"refused to import (posix|nt)\.system: .*nothing of it was run"
  refused_bytes(path, write(program, {}), match)
  assert not marker.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_names_what_it_would_import(path, protocol):
  program = pickle.dumps({"x": eval}, protocol)
  match = r"refused to import builtins\.eval"
  refused_bytes(path, write_zip(program, {}), match)


@pytest.mark.parametrize(
  "name",
  [
    "builtins.eval",
    "builtins.exec",
    "builtins.getattr",
    "builtins.__import__",
    "builtins.type",
    "os.system",
    "subprocess.Popen",
    "operator.attrgetter",
    "functools.partial",
    "torch.hub.load",
    "torch.load",
    "torch.storage._load_from_bytes",
    "torch.jit.load",
    "torch.nn.modules.linear.Linear",
    "numpy.testing._private.utils.runstring",
    "numpy.load",
    "_pickle.loads",
    "collections.OrderedDict.__class__",
    "argparse.Namespace.__init__.__globals__",
    "copyreg._reconstructor",
  ],
)
def test_imports_are_refused_by_name(path, name, legacy):
  module, _, attribute = name.rpartition(".")
  match = f"refused to import {name}"
  refused(path, Global(module, attribute), match, legacy)
  refused(path, Call(Global(module, attribute), ("1",)), match, legacy)
  refused(path, Object(module, attribute, {}), match, legacy)


def test_nested_calls(path):
  get = Global("__builtin__", "getattr")
  system = Call(get, (Call(Global("__builtin__", "__import__"), ("os",)), "x"))
  refused(path, Call(system, ("ls",)), r"refused to import builtins\.getattr")
  inner = pickle.dumps(print, 2)
  loads = Global("torch.storage", "_load_from_bytes")
  match = r"refused to import torch\.storage\._load_from_bytes"
  refused(path, Call(loads, (inner,)), match)


def test_names_in_messages_are_harmless(path):
  refused(path, Global("os\x1b[2J", "system"), r"import os\\x1b\[2J\.system")
  refused(path, Global("o\\x73", "system"), "refused the escaped name")
  long = Global("a" * 5000, "b")
  save(path, long)
  with pytest.raises(InterchangeError) as caught:
    load(path)
  assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
  "function",
  [
    "text",
    Global("torch", "FloatStorage"),
    Global("torch", "float32"),
    Global("numpy", "ndarray"),
    Call(Global("torch", "Size"), ((1,),)),
  ],
)
def test_what_is_not_a_function_is_not_called(path, function):
  refused(path, Call(function, ()), "refused to call ")


def test_state_is_set_only_where_there_is_one(path):
  program = Writer()
  for thing in ({}, [], "text", Global("argparse", "Namespace")):
    state = Raw(program._any(thing) + program._any({"x": 1}) + b"b")
    refused(path, state, "refused to set the state of ")
  for state in ([("x", 1)], {1: 2}):
    refused(path, Object("argparse", "Namespace", state), "are no dict")


@pytest.mark.parametrize(
  ("code", "match"),
  [
    (b"(ios\nsystem\n", r"refused to import os\.system"),
    (b"(iargparse\nNamespace\n", "refused the pickle instruction INST"),
    (b"(cargparse\nNamespace\no", "refused the pickle instruction OBJ"),
    (b"\x82\x01", "refused the pickle instruction EXT1"),
    (b"Pos.system\n", "refused the pickle instruction PERSID"),
    (b"\x8f", "refused the pickle instruction EMPTY_SET"),
    (b"cargparse\nNamespace\n)}\x92", "instruction NEWOBJ_EX"),
    (b"\x8c\x02os\x8c\x06system\x93", r"refused to import os\.system"),
  ],
)
def test_instructions(path, code, match, legacy):
  refused(path, Raw(code), match, legacy)


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


def test_numpy_values_of_objects(path):
  def dtype(code):
    return Call(Global("numpy", "dtype"), (code, False, True))

  scalar = Global("numpy.core.multiarray", "scalar")
  for code in ("O", "O8", "V8", "M8", "U4", "S4", "f4,O"):
    match = f"refused the NumPy type '{code}'"
    refused(path, Call(scalar, (dtype(code), b"12345678")), match)
  match = r"1 NumPy numbers float64 have 3 bytes"
  refused(path, Call(scalar, (dtype("f8"), b"123")), match)


def test_numpy_arrays(path):
  """They are no tensors: torch.save leaves them to pickle."""
  truth = np.asfortranarray(np.arange(6.0).reshape(2, 3))
  program = pickle.dumps({"x": truth, "y": [truth, np.int64(3)]}, 2)
  path.write_bytes(write_zip(program, {}))
  result = load(path)
  np.testing.assert_array_equal(result["x"], truth)
  assert result["y"][0] is result["x"] and result["y"][1] == 3
  objects = pickle.dumps(np.array([eval, None], object), 2)
  match = r"refused the NumPy type 'O8'"
  refused_bytes(path, write_zip(objects, {}), match)
  swapped = pickle.dumps(truth.astype(">f8"), 2)
  refused_bytes(path, write_zip(swapped, {}), "NumPy type of another order")


# What takes memory or time.


@pytest.mark.parametrize(
  "code",
  [
    b"X" + struct.pack("<I", 2**32 - 1),  # text
    b"B" + struct.pack("<I", 2**32 - 1),  # bytes
    b"T" + struct.pack("<i", 2**31 - 1),
    b"\x8b" + struct.pack("<i", 2**31 - 1),  # a number
    b"\x8d" + struct.pack("<Q", 2**62),
    b"\x8e" + struct.pack("<Q", 2**64 - 1),
    b"\x96" + struct.pack("<Q", 2**62),
    b"\x95" + struct.pack("<Q", 2**62),  # a frame
    b"I" + b"9" * 9000 + b"\n",
    b"L" + b"9" * 8000 + b"L\n",
    b"r" + struct.pack("<I", 2**32 - 1),  # a place in the memo
    b"j" + struct.pack("<I", 2**32 - 1),
  ],
)
def test_huge_headers(path, code, legacy):
  tracemalloc.start()
  refused(path, Raw(code), "its pickle is damaged", legacy)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 2**20


def test_a_far_place_in_the_memo_takes_no_memory(path):
  put, get = (code + struct.pack("<I", 2**32 - 1) for code in (b"r", b"j"))
  save(path, Raw(b"K\x01" + put + b"0" + get))
  assert load(path) == 1


def test_deep_nesting(path):
  n = 200_000
  deep = [
    b"]" * n + b"a" * (n - 1),
    b")" + b"\x85" * n,
    b"}" + b"K\x01}" * n + b"s" * n,
  ]
  for code in deep:
    refused(path, Raw(code), "nested more than 100 levels deep")
  itself = b"]q\x00h\x00a"
  refused(path, Raw(itself), "contains itself")
  key = b"}" + b")" + b"\x85" * n + b"K\x01s"
  refused(path, Raw(key), "a tuple as a key of a dict")


def test_many_references(path):
  """Two to the 60 leaves, in as many steps as there are levels."""
  doubled = b")" + b"2\x86" * 60
  save(path, Raw(doubled))
  result = load(path)
  assert result[0] is result[1]
  # As a key of a dict its hash would take for ever.
  refused(path, Raw(b"}" + doubled + b"K\x01s"), "as a key of a dict")
  number = b"\x8b" + struct.pack("<i", 100) + b"\x01" * 100
  refused(path, Raw(b"}" + number + b"K\x01s"), "as a key of a dict")


def test_a_pickle_that_unfolds(path):
  text = b"X" + struct.pack("<I", 10_000) + b"a" * 10_000 + b"q\x01"
  latin = b"X\x06\x00\x00\x00latin1q\x02"
  encode = b"c_codecs\nencode\nq\x00"
  calls = b"h\x00h\x01h\x02\x86R0" * 1000
  refused(path, Raw(text + latin + encode + calls), "many times its own size")


def test_instructions_are_limited(path, monkeypatch):
  monkeypatch.setattr(
    "d2v_jax.interchange.torch_file.restricted_pickle._MOST_INSTRUCTIONS", 1000
  )
  refused(path, Raw(b"]0" * 600 + b"N"), "more than 1000 instructions")


@pytest.mark.parametrize(
  ("changes", "match"),
  [
    ({"size": (2, 4), "stride": (4, 1)}, "reaches beyond its storage of 6"),
    ({"offset": 1}, "reaches beyond its storage"),
    ({"stride": (2**61, 1)}, "reaches beyond its storage"),
    ({"offset": -1}, "negative, huge or no number"),
    ({"size": (-2, 3)}, "negative, huge or no number"),
    ({"size": (2**70, 3)}, "negative, huge or no number"),
    ({"size": (True, 3)}, "negative, huge or no number"),
    ({"stride": (-3, 1)}, "negative, huge or no number"),
    ({"size": (2,)}, "1 sizes and 2 strides"),
    ({"size": (1,) * 33, "stride": (1,) * 33}, "33 sizes"),
    ({"size": (2**40,), "stride": (0,)}, "repeats a storage of 6 elements"),
    ({"size": (0, 2**60), "stride": (0, 0)}, "repeats a storage of 6"),
    ({"size": "ab"}, "of another kind than a dense one"),
    ({"numel": -6}, "negative, huge or no number"),
    ({"numel": 10**30}, "negative, huge or no number"),
    ({"storage": "ComplexFloatStorage"}, "refused to import torch.ComplexFl"),
  ],
)
def test_tensors_stay_in_their_storage(path, legacy, changes, match):
  refused(path, tensor(**changes), match, legacy)


def test_storage_sizes(path):
  match = r"a storage of 7 elements \(28 bytes\) has 24 bytes"
  refused(path, tensor(numel=7), match)
  match = r"a storage of 4611686018427387903 elements .* has 24 bytes"
  refused(path, tensor(numel=2**62 - 1), match)
  refused(path, tensor(numel=2**62 - 1), "has 24 bytes", legacy=True)
  writer = Writer(legacy=True)
  program = writer.pickle(tensor())
  content = write_legacy(program, {"0": (5, tensor().content)})
  refused_bytes(path, content, "a storage has another size")
  content = write_legacy(program, {"1": (6, tensor().content)})
  refused_bytes(path, content, "its storages are not those of its tensors")
  content = write_legacy(program, writer.storages)
  refused_bytes(path, content + b"x", "bytes follow behind its last storage")


def test_an_array_of_numpy_is_no_storage(path):
  """Else setting its state again would leave a tensor without memory."""
  program = pickle.dumps(np.arange(6, dtype="f4"), 2)[2:-1]
  make = Global("torch._utils", "_rebuild_tensor")
  call = Call(make, (Raw(program), 0, (6,), (1,)))
  refused(path, call, "of another kind than a dense one")
  twice = Raw(program + b"(K\x01K\x02\x85NNNtb")
  refused(path, twice, "NumPy numbers that are no array")


# Archives.


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


# Other files.


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


# PyTorch itself.


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
