"""What stands for the classes and functions that torch.save names."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from d2v_jax.interchange.torch_file.restricted_pickle import put
from d2v_jax.interchange.weights import InterchangeError

STORAGES = {
  "torch.DoubleStorage": "f8",
  "torch.FloatStorage": "f4",
  "torch.HalfStorage": "f2",
  "torch.BFloat16Storage": "bfloat16",
  "torch.LongStorage": "i8",
  "torch.IntStorage": "i4",
  "torch.ShortStorage": "i2",
  "torch.CharStorage": "i1",
  "torch.ByteStorage": "u1",
  "torch.BoolStorage": "b1",
  "torch.UntypedStorage": "u1",
  "torch.storage.UntypedStorage": "u1",
}
# What torch.Tensor.expand makes repeats its storage. A file may ask for so many
# elements in that way; more of them would be a bomb.
_MOST_REPEATED = 2**20
_MOST_DIMENSIONS = 32


class Storage(np.ndarray):
  """The elements [n] that tensors are views of."""


def itemsize(kind: str) -> int:
  """Bytes of an element of a storage class."""
  code = STORAGES[kind]
  return 2 if code == "bfloat16" else np.dtype(code).itemsize


def storage(content: memoryview, kind: str, count: int, order: str) -> Storage:
  """A storage over its bytes, copied only where it must be.

  Args:
    content: its bytes.
    kind: its class, such as 'torch.FloatStorage'.
    count: how many elements it is said to have.
    order: 'little' or 'big'.

  Returns:
    Read-only [count] in the machine's order; bfloat16 as float32.

  Raises:
    InterchangeError: there are not as many.
  """
  if len(content) != count * itemsize(kind):
    raise InterchangeError(
      f"damaged or cut off: a storage of {count} elements "
      f"({count * itemsize(kind)} bytes) has {len(content)} bytes"
    )
  code = {"bfloat16": "u2", "b1": "u1"}.get(STORAGES[kind], STORAGES[kind])
  dtype = np.dtype(code).newbyteorder("<" if order == "little" else ">")
  array = np.ndarray((count,), dtype, buffer=content)
  array = array.astype(code, copy=not array.flags.aligned)
  if STORAGES[kind] == "bfloat16":
    array = (array.astype(np.uint32) << 16).view(np.float32)
  elif STORAGES[kind] == "b1":
    array = array != 0
  elements = array.view(Storage)
  elements.flags.writeable = False
  return elements


def size(x: Any) -> int:
  """A number of elements, checked to be one.

  Raises:
    InterchangeError: it is not.
  """
  if type(x) is not int or not 0 <= x < 2**62:
    raise InterchangeError("refused a size that is negative, huge or no number")
  return x


def tensor(
  elements: Storage,
  offset: int,
  shape: tuple[int, ...],
  strides: tuple[int, ...],
  requires_grad: bool = False,
  hooks: Any = (),
  metadata: Any = None,
) -> np.ndarray:
  """Stands for torch._utils._rebuild_tensor_v2: a view of a storage.

  Raises:
    InterchangeError: it would reach beyond its storage.
  """
  del requires_grad, hooks
  shapes = isinstance(shape, tuple) and isinstance(strides, tuple)
  if not isinstance(elements, Storage) or not shapes or metadata:
    raise InterchangeError("refused a tensor of another kind than a dense one")
  if len(shape) != len(strides) or len(shape) > _MOST_DIMENSIONS:
    raise InterchangeError(
      f"refused a tensor with {len(shape)} sizes and {len(strides)} strides"
    )
  shape = tuple(size(n) for n in shape)
  strides = tuple(size(n) for n in strides)
  last = size(offset) + sum(
    (n - 1) * s for n, s in zip(shape, strides, strict=True) if n
  )
  if offset > elements.size or (0 not in shape and last >= elements.size):
    raise InterchangeError(
      f"refused a tensor {list(shape)} with strides {list(strides)} at "
      f"{offset}: it reaches beyond its storage of {elements.size} elements"
    )
  if math.prod(max(n, 1) for n in shape) > elements.size + _MOST_REPEATED:
    raise InterchangeError(
      f"refused a tensor {list(shape)} that repeats a storage of "
      f"{elements.size} elements; save it with .contiguous()"
    )
  return np.lib.stride_tricks.as_strided(
    elements[offset:],
    shape,
    [s * elements.itemsize for s in strides],
    writeable=False,
  )


def part(elements: Storage, offset: int, count: int) -> Storage:
  """A storage that is a part of another, as files of before 1.6 have.

  Raises:
    InterchangeError: it would reach beyond.
  """
  return tensor(elements, offset, (count,), (1,)).view(Storage)


def _parameter(data, requires_grad, hooks, state=None):
  del requires_grad, hooks, state
  return data


def _ordered(pairs=()):
  items = []
  for key, value in pairs:
    items += [key, value]
  return put({}, items)


def _attributes(attributes, state):
  if not isinstance(state, dict) or not all(type(k) is str for k in state):
    raise InterchangeError("damaged: attributes that are no dict of names")
  attributes.update(state)


def _shape(sizes):
  return tuple(size(n) for n in sizes)


def _device(kind, index=None):
  if type(kind) is not str:
    raise InterchangeError("damaged: a device without a name")
  return kind if index is None else f"{kind}:{size(index)}"


def _encode(text, encoding):
  if encoding not in ("latin1", "latin-1"):
    raise InterchangeError(f"refused the encoding {ascii(encoding)[:40]}")
  return text.encode("latin-1")


def _number_type(code, align=False, copy=True):
  del align, copy
  if type(code) is not str or not re.fullmatch("b1|[iu][1248]|f[248]", code):
    raise InterchangeError(
      f"refused the NumPy type {ascii(code)[:40]}; only numbers are allowed"
    )
  return np.dtype(code)


def _check_number_type(_, state):
  _, order, *fields = state
  if order not in ("<", "|", "=") or any(x is not None for x in fields[:3]):
    raise InterchangeError("refused a NumPy type of another order, or of parts")


def _number(dtype, data):
  return _numbers(dtype, 1, data)[0]


def _numbers(dtype, count, data):
  data = data.encode("latin-1") if isinstance(data, str) else data
  if not isinstance(dtype, np.dtype) or not isinstance(data, bytes):
    raise InterchangeError("damaged: NumPy numbers without type or bytes")
  if len(data) != count * dtype.itemsize:
    raise InterchangeError(
      f"damaged: {count} NumPy numbers {dtype} have {len(data)} bytes"
    )
  return np.frombuffer(data, dtype)


def _blank_numbers(kind, shape, code):
  del kind, shape, code
  return np.empty(0, np.uint8)


def _fill_numbers(blank, state):
  _, shape, dtype, columns_first, data = state
  shape = _shape(shape)
  if blank.size or len(shape) > _MOST_DIMENSIONS:
    raise InterchangeError("damaged: NumPy numbers that are no array")
  flat = _numbers(dtype, math.prod(shape), data)
  # In place, as others may hold it already. Nothing can be a view of it.
  blank.__setstate__((1, shape, dtype, bool(columns_first), flat.tobytes()))


_ARRAYS: dict[str, Callable[..., Any]] = {
  "multiarray.scalar": _number,
  "multiarray._reconstruct": _blank_numbers,
}

_NAMES: dict[str, Callable[..., Any] | None] = {
  **dict.fromkeys(STORAGES),
  **dict.fromkeys(f"torch.float{n}" for n in (16, 32, 64)),
  **dict.fromkeys(f"torch.int{n}" for n in (8, 16, 32, 64)),
  **dict.fromkeys(("torch.bfloat16", "torch.uint8", "torch.bool")),
  "torch._utils._rebuild_parameter": _parameter,
  "torch._utils._rebuild_parameter_with_state": _parameter,
  "torch.Size": _shape,
  "torch.device": _device,
  "collections.OrderedDict": _ordered,
  # Called without arguments only: bytes(2**40) would take as much memory.
  "argparse.Namespace": lambda: {},
  "fairseq.data.dictionary.Dictionary": lambda: {},
  "builtins.bytes": lambda: b"",
  "_codecs.encode": _encode,
  "numpy.dtype": _number_type,
  "numpy.ndarray": None,
  **{f"numpy.core.{name}": make for name, make in _ARRAYS.items()},
  **{f"numpy._core.{name}": make for name, make in _ARRAYS.items()},
}


def names(
  make_tensor: Callable[..., Any],
) -> dict[str, Callable[..., Any] | None]:
  """The names that may occur; None: what cannot be called."""
  return _NAMES | {
    "torch._utils._rebuild_tensor": make_tensor,
    "torch._utils._rebuild_tensor_v2": make_tensor,
  }


STATE = {
  "collections.OrderedDict": lambda ordered, state: None,
  "argparse.Namespace": _attributes,
  "fairseq.data.dictionary.Dictionary": _attributes,
  "numpy.dtype": _check_number_type,
  "numpy.core.multiarray._reconstruct": _fill_numbers,
  "numpy._core.multiarray._reconstruct": _fill_numbers,
}
