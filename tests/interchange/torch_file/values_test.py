"""Tensors, arrays and objects."""

import argparse
import pickle

import ml_dtypes
import numpy as np
import pytest

from d2v_jax.interchange.torch_file.reader import load
from tests.interchange.torch_file.refusals import refused, refused_bytes, tensor
from tests.interchange.torch_file.torch_files import (
  Call,
  Global,
  Object,
  Raw,
  Writer,
  save,
  write_legacy,
  write_zip,
)

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "b1"]


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
