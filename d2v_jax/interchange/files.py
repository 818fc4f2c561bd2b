"""Folders to import: bounded reading, and nothing of them is run.

Such a folder comes from strangers. Names of files are fixed or checked, sizes
are looked at before anything is read, and what is read are plain JSON and
arrays.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from etils import epath

from d2v_jax import storage
from d2v_jax.interchange.torch_file import reader as torch_file
from d2v_jax.interchange.weights import Arrays, InterchangeError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"

_MIB = 1 << 20
_MOST_JSON = _MIB
MOST_TOKENIZER = 64 * _MIB
_MOST_INDEX = 16 * _MIB
_DTYPES = {
  "F64": np.float64,
  "F32": np.float32,
  "F16": np.float16,
  "BF16": np.uint16,
  "I64": np.int64,
  "I32": np.int32,
  "I16": np.int16,
  "I8": np.int8,
  "U8": np.uint8,
  "BOOL": np.bool_,
}


@dataclasses.dataclass(frozen=True)
class Folder:
  """Reads the files of one folder, and none outside of it.

  Links may lead to the folder itself, or to the `blobs` beside `snapshots`, as
  in the cache of the Hugging Face Hub.
  """

  path: epath.Path

  def __post_init__(self):
    if not self.path.is_dir():
      raise InterchangeError(
        f"{self.path} is not a folder; give the folder that has config.json "
        f"and {WEIGHTS} (or {PICKLE})."
      )

  def has(self, name: str) -> bool:
    """Whether there is such a file."""
    return (self.path / name).exists()

  def read(self, name: str, most: int = MOST_TOKENIZER) -> bytes:
    """Bytes of a file.

    Args:
      name: of a file in the folder, without any folder.
      most: bytes that it may have.

    Raises:
      InterchangeError: it is not there, lies outside or is too large.
    """
    path = self._inside(name)
    size = path.stat().length
    if size > most:
      raise InterchangeError(
        f"{path} has {size} bytes, more than the {most} that such a file may "
        "have; it was not read."
      )
    return path.read_bytes()

  def json(self, name: str, most: int = _MOST_JSON) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
      InterchangeError: as for `read`, or it is not a JSON object.
    """
    try:
      content = json.loads(self.read(name, most))
    except (ValueError, RecursionError) as e:
      if isinstance(e, InterchangeError):
        raise
      raise InterchangeError(f"{self.path / name} is not JSON: {e}") from e
    if not isinstance(content, dict):
      raise InterchangeError(
        f"{self.path / name} must hold a JSON object, got "
        f"{type(content).__name__}."
      )
    return content

  def weights(self) -> Arrays:
    """All arrays of the model, by name, as float32 where they are floats.

    Raises:
      InterchangeError: there are none, or a file is damaged.
    """
    if self.has(WEIGHTS):
      return self.arrays(WEIGHTS)
    if self.has(INDEX):
      return self._sharded(INDEX, self.arrays)
    if self.has(PICKLE):
      return self._pickled(PICKLE)
    if self.has(PICKLE_INDEX):
      return self._sharded(PICKLE_INDEX, self._pickled)
    raise InterchangeError(
      f"{self.path} has none of {WEIGHTS}, {INDEX}, {PICKLE} and "
      f"{PICKLE_INDEX}; download the weights, too."
    )

  def arrays(self, name: str) -> Arrays:
    """The arrays of one safetensors file."""
    path = self._inside(name)
    try:
      # The library checks the header against the length of the file.
      entries = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as e:
      raise InterchangeError(
        f"{path} is not a whole safetensors file: {e}; download it again."
      ) from e
    arrays = {}
    for key, entry in entries:
      dtype = _DTYPES.get(entry["dtype"])
      if dtype is None:
        raise InterchangeError(
          f"{path}: {key} is stored as {entry['dtype']}; allowed are "
          f"{', '.join(_DTYPES)}."
        )
      array = np.frombuffer(entry["data"], dtype).reshape(entry["shape"])
      if entry["dtype"] == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
      arrays[key] = _plain(array, key, name)
    return arrays

  def _pickled(self, name: str) -> Arrays:
    """The arrays of one file that torch.save wrote."""
    arrays = torch_file.load(self._inside(name))
    if not isinstance(arrays, dict):
      raise InterchangeError(f"{self.path / name} holds no dict of weights")
    return {str(k): _plain(v, str(k), name) for k, v in arrays.items()}

  def _sharded(self, index: str, read: Callable[[str], Arrays]) -> Arrays:
    """The arrays of all files that an index names."""
    table = self.json(index, _MOST_INDEX).get("weight_map")
    if not isinstance(table, dict) or not all(
      isinstance(name, str) for name in table.values()
    ):
      raise InterchangeError(
        f"{self.path / index}: weight_map must map names to files."
      )
    arrays: Arrays = {}
    for name in sorted(set(table.values())):
      arrays |= read(name)
    if arrays.keys() != table.keys():
      differ = sorted(arrays.keys() ^ table.keys())
      raise InterchangeError(
        f"{self.path / index} and its files differ in {len(differ)} weights, "
        f"such as {differ[0]}; download the folder again."
      )
    return arrays

  def _inside(self, name):
    if not name or name in (".", "..") or any(c in name for c in "/\\\0"):
      raise InterchangeError(
        f"{self.path}: {name!r} is not the name of a file in the folder; it "
        "was not read."
      )
    path = self.path / name
    if not path.exists():
      raise InterchangeError(f"{self.path} has no file {name}.")
    if not storage.in_bucket(path):  # where there are no links
      home, real = (pathlib.Path(p).resolve() for p in (self.path, path))
      if real.parent not in (home, home.parent.parent / "blobs"):
        raise InterchangeError(
          f"{path} is a link to {real}, outside of the folder; it was not read."
        )
    if not path.is_file():
      raise InterchangeError(f"{path} is not a file.")
    return path


def write_all(folder: epath.Path, files: Mapping[str, bytes]) -> None:
  """Writes files, by their names within the folder, and folders on the way."""
  for name, content in files.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def to_bytes(arrays: Arrays, metadata: dict[str, str] | None = None) -> bytes:
  """A safetensors file of arrays."""
  arrays = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
  return safetensors.numpy.save(arrays, metadata)


def to_json(content: dict[str, Any]) -> bytes:
  """A JSON file that people can read."""
  return (json.dumps(content, indent=2) + "\n").encode()


def _plain(value, key, name):
  if not isinstance(value, np.ndarray):
    raise InterchangeError(
      f"{name}: {key} is a {type(value).__name__}, not an array."
    )
  if np.issubdtype(value.dtype, np.floating):
    with np.errstate(over="ignore"):  # infinite weights are refused by name
      return value.astype(np.float32)
  return value
