"""Writes the files of torch.save without PyTorch, honest ones and others."""

import argparse
import copy
import dataclasses
import io
import pickle
import struct
import zipfile
from typing import Any

import ml_dtypes
import numpy as np

STORAGES = {
  np.dtype("f8"): "DoubleStorage",
  np.dtype("f4"): "FloatStorage",
  np.dtype("f2"): "HalfStorage",
  np.dtype(ml_dtypes.bfloat16): "BFloat16Storage",
  np.dtype("i8"): "LongStorage",
  np.dtype("i4"): "IntStorage",
  np.dtype("i2"): "ShortStorage",
  np.dtype("i1"): "CharStorage",
  np.dtype("u1"): "ByteStorage",
  np.dtype("b1"): "BoolStorage",
}
MAGIC = 0x1950A86A20F9469CFC6C


@dataclasses.dataclass(frozen=True)
class Global:
  """A class or function, by name."""

  module: str
  name: str


@dataclasses.dataclass(frozen=True)
class Call:
  """The result of a call while the file is read."""

  function: Any
  args: tuple


@dataclasses.dataclass(frozen=True)
class Object:
  """An object of a class with attributes."""

  module: str
  name: str
  state: dict


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor that says of itself what it likes."""

  content: bytes
  storage: str
  numel: int
  offset: int
  size: tuple
  stride: tuple


@dataclasses.dataclass(frozen=True)
class Raw:
  """Pickle instructions as they are."""

  code: bytes


def save(path, obj, *, legacy=False):
  """Writes a checkpoint; NumPy arrays become tensors, views share storages."""
  writer = Writer(legacy)
  program = writer.pickle(obj)
  if legacy:
    content = write_legacy(program, writer.storages)
  else:
    content = write_zip(program, writer.storages)
  with open(path, "wb") as file:
    file.write(content)


def write_zip(
  program, storages, *, compression=0, order=b"little", more=(), again=()
):
  """Bytes of the zip layout.

  `more` are (path, content) pairs; `again` are paths under which the directory
  lists the first storage once more.
  """
  out = io.BytesIO()
  with zipfile.ZipFile(out, "w", compression) as archive:
    archive.writestr("archive/data.pkl", program)
    archive.writestr("archive/byteorder", order)
    for key, (_, content) in storages.items():
      archive.writestr(f"archive/data/{key}", content)
    archive.writestr("archive/version", b"3\n")
    for name, content in more:
      archive.writestr(name, content)
    for name in again:
      info = copy.copy(archive.getinfo("archive/data/0"))
      info.filename = name
      archive.filelist.append(info)
  return out.getvalue()


def write_legacy(program, storages):
  """Bytes of the layout of before PyTorch 1.6."""
  system = {
    "protocol_version": 1001,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
  }
  parts = [pickle.dumps(x, 2) for x in (MAGIC, 1001, system)] + [program]
  parts.append(pickle.dumps(list(storages), 2))
  for numel, content in storages.values():
    parts += [struct.pack("<q", numel % 2**63), content]
  return b"".join(parts)


class Writer:
  """Pickles as torch.save does, by protocol 2, without a memo."""

  def __init__(self, legacy=False):
    self.legacy = legacy
    self.storages = {}  # key -> number of elements, bytes
    self._roots = {}  # id of an array -> it, its key

  def pickle(self, obj) -> bytes:
    return b"\x80\x02" + self._any(obj) + b"."

  def _any(self, x):
    match x:
      case np.ndarray():
        return self._array(x)
      case np.generic():
        return self._numpy(x)
      case Tensor():
        key = str(len(self.storages))
        self.storages[key] = x.numel, x.content
        return self._tensor(x.storage, key, x.numel, x.offset, x.size, x.stride)
      case Raw():
        return x.code
      case Global():
        return f"c{x.module}\n{x.name}\n".encode()
      case Call():
        return self._any(x.function) + self._any(x.args) + b"R"
      case Object():
        made = self._any(Global(x.module, x.name)) + b")\x81"
        return made + self._any(x.state) + b"b"
      case argparse.Namespace():
        return self._any(Object("argparse", "Namespace", vars(x)))
      case dict():
        items = b"".join(self._any(k) + self._any(v) for k, v in x.items())
        empty = b"}"
        if type(x) is not dict:
          empty = self._any(Call(Global("collections", "OrderedDict"), ()))
        return empty + b"(" + items + b"u"
      case list():
        return b"](" + b"".join(map(self._any, x)) + b"e"
      case tuple():
        return b"(" + b"".join(map(self._any, x)) + b"t"
      case bytes():
        args = x.decode("latin-1"), "latin1"
        return self._any(Call(Global("_codecs", "encode"), args))
      case str() | int() | float() | None:
        return pickle.dumps(x, 2)[2:-1]
    raise TypeError(f"cannot write {type(x)}")

  def _array(self, x):
    root = x
    while isinstance(root.base, np.ndarray) and root.base.dtype == x.dtype:
      root = root.base
    strides = [s // x.itemsize for s in x.strides]
    if not root.flags.c_contiguous or any(s < 0 for s in strides):
      root = x = np.ascontiguousarray(x)
      strides = [s // x.itemsize for s in x.strides]
    address = [a.__array_interface__["data"][0] for a in (x, root)]
    offset = (address[0] - address[1]) // x.itemsize
    if id(root) not in self._roots:
      key = str(len(self.storages))
      self._roots[id(root)] = root, key
      self.storages[key] = root.size, root.tobytes()
    return self._tensor(
      STORAGES[x.dtype],
      self._roots[id(root)][1],
      root.size,
      offset if x.size else 0,
      x.shape,
      tuple(strides),
    )

  def _tensor(self, storage, key, numel, offset, size, stride):
    identifier = ("storage", Global("torch", storage), key, "cpu", numel)
    identifier += (None,) * self.legacy
    hooks = Call(Global("collections", "OrderedDict"), ())
    args = (Raw(self._any(identifier) + b"Q"), offset, size, stride, False)
    make = Global("torch._utils", "_rebuild_tensor_v2")
    return self._any(Call(make, (*args, hooks)))

  def _numpy(self, x):
    order = "<" if x.itemsize > 1 else "|"
    state = (3, order, None, None, None, -1, -1, 0)
    made = self._any(
      Call(Global("numpy", "dtype"), (x.dtype.str[1:], False, True))
    )
    dtype = Raw(made + self._any(state) + b"b")
    make = Global("numpy.core.multiarray", "scalar")
    return self._any(Call(make, (dtype, x.tobytes())))
