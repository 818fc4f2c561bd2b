"""Reads what torch.save wrote, without PyTorch and without running it."""

import functools
import mmap
from typing import Any

from etils import epath

from d2v_jax import storage
from d2v_jax.interchange.torch_file import restricted_pickle, values
from d2v_jax.interchange.torch_file.archive import Archive
from d2v_jax.interchange.torch_file.restricted_pickle import Name, Window
from d2v_jax.interchange.weights import InterchangeError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

# How other files begin that are taken for checkpoints.
_OTHERS = (
  (b"version https://git-lfs", "a git-LFS pointer: fetch it by git lfs pull"),
  (b"<", "a web page: the download of the file failed"),
  (b"\x1f\x8b", "compressed by gzip: unpack it first"),
  (b"\x89HDF", "HDF5, such as Keras writes"),
  (b"\x93NUMPY", "an array of NumPy"),
  (b"PK", "a zip archive, damaged or cut off"),
  (b"{", "JSON"),
)


def load(path: epath.PathLike) -> Any:
  """What torch.load would give for a .pt, .pth or .bin file, as plain data.

  Tensors of a local file are views of the file, which must stay as it is while
  they are in use.

  Args:
    path: written by torch.save, in its zip layout or in that of before 1.6.

  Returns:
    Nested dicts, lists, tuples, strings, numbers. Tensors and parameters are
    read-only arrays; those that share a storage share memory; bfloat16 is
    float32. Numbers and arrays of NumPy are such. An argparse.Namespace, and
    fairseq's Dictionary, is the dict of its attributes; types and devices are
    strings.

  Raises:
    InterchangeError: the file is damaged, is something else, or needs more
      than tensors, dicts, lists, strings and numbers: it says what.

  Source: torch/serialization.py of PyTorch 2.13, for the two layouts.
  """
  path = epath.Path(path)
  if not path.exists() or path.is_dir():
    what = "is a folder" if path.exists() else "does not exist"
    raise InterchangeError(f"{path} {what}; a file by torch.save is needed")
  try:
    data = _contents(path)
    if data[:4] == b"PK\x03\x04":
      return _load_zip(data)
    return _load_legacy(data)
  except InterchangeError as error:
    raise InterchangeError(f"{path}: {error}") from error


def _contents(path):
  if not path.stat().length:
    raise InterchangeError("the file is empty; was its download cut off?")
  if storage.in_bucket(path):
    return memoryview(path.read_bytes())
  with open(path, "rb") as file:
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _load_zip(data):
  archive = Archive(data)
  order = bytes(archive.read("byteorder") or b"little")
  if order not in (b"little", b"big"):
    raise InterchangeError(f"damaged: its byte order is {order[:20]!a}")

  @functools.cache
  def storage(kind, key, count):
    content = archive.read(f"data/{key}")
    if content is None:
      raise InterchangeError(f"cut off: it lacks storage {ascii(key)[:40]}")
    return values.storage(content, kind, count, order.decode())

  window = Window(archive.read("data.pkl"))
  result = _unpickle(window, storage)
  if window.left():
    raise InterchangeError("damaged: bytes follow behind the end of its pickle")
  return result


def _load_legacy(data):
  window = Window(data)
  try:
    numbers = [_unpickle(window), _unpickle(window)]
  except InterchangeError as error:
    raise InterchangeError(_guess(data)) from error
  if any(type(n) is not int for n in numbers) or numbers != [_MAGIC, _PROTOCOL]:
    raise InterchangeError(_guess(data))
  system = _unpickle(window)
  if not isinstance(system, dict) or system.get("little_endian") is not True:
    raise InterchangeError("damaged, or written on a big-endian machine")
  # The storages come after the pickle that names them: it is read twice.
  start, counts = window.tell(), {}

  def note(kind, key, count, view=None):
    del view
    if counts.setdefault(key, (kind, count)) != (kind, count):
      raise InterchangeError(f"damaged: storage {ascii(key)[:40]} is two")

  _unpickle(window, note, lambda *_: None)
  storages = _legacy_storages(data, window, counts)

  def storage(kind, key, count, view=None):
    del kind, count
    if view is None:
      return storages[key]
    _, offset, size = view
    return values.part(storages[key], offset, size)

  return _unpickle(Window(data, start), storage)


def _legacy_storages(data, window, counts):
  """The storages behind the pickle: a list of keys, then counts and bytes."""
  keys = _unpickle(window)
  if not isinstance(keys, list) or any(type(key) is not str for key in keys):
    raise InterchangeError("damaged: it has no list of its storages")
  if len(set(keys)) < len(keys) or set(keys) != set(counts):
    raise InterchangeError("damaged: its storages are not those of its tensors")
  storages, at = {}, window.tell()
  for key in keys:
    kind, count = counts[key]
    if data[at : at + 8] != count.to_bytes(8, "little"):
      raise InterchangeError("damaged or cut off: a storage has another size")
    at += 8
    end = at + count * values.itemsize(kind)
    storages[key] = values.storage(data[at:end], kind, count, "little")
    at = end
  if at != len(data):
    raise InterchangeError("damaged: bytes follow behind its last storage")
  return storages


def _unpickle(window, storage=None, tensor=values.tensor):
  def persistent(identifier):
    if storage is None or type(identifier) is not tuple:
      raise InterchangeError("damaged: a storage where none can be")
    what, kind, key, _, count, *view = identifier
    if what != "storage" or type(key) is not str or type(kind) is not Name:
      raise InterchangeError("damaged: a storage of no known kind")
    return storage(kind, key, values.size(count), *view)

  return restricted_pickle.read(
    window,
    names=values.names(tensor),
    state=values.STATE,
    persistent=persistent,
  )


def _guess(data):
  """What a file is that torch.save did not write."""
  begin = bytes(data[:512])
  what = "neither a zip archive nor PyTorch's older layout"
  for head, kind in _OTHERS:
    if begin.lstrip().startswith(head):
      what = kind
      break
  else:
    if begin[257:262] == b"ustar":
      what = "a tar archive, as PyTorch before 0.2 wrote: save it again"
    elif begin[8:9] == b"{":
      what = "safetensors; such a file is read under its own name"
    elif begin[:1] == b"\x80":
      what = "a pickle, but cut off or not by torch.save"
  return f"not a file by torch.save; it looks like {what}"
