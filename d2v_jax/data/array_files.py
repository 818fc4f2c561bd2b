"""Arrays in files, which stay there: only what is asked for is read."""

import logging
import os
import pathlib
import struct
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO

import numpy as np

ENDINGS = (".npy", ".npz")

# Of a file in a zip archive: the lengths of its name and of what follows it are
# at the end of a header of this size.
_LOCAL_HEADER = 30
_NAME_AND_EXTRA = struct.Struct("<HH")
# What NumPy says of arrays of them.
_OBJECTS = ("allow_pickle", "Python objects")


class ArrayFiles(Mapping[str, np.ndarray]):
  """Arrays by name, mapped into memory; in another process opened again.

  Args:
    path: a .npy file; a folder of .npy files, whose names without the ending
      are those of the arrays; or a .npz file. What np.savez_compressed has
      written is unpacked into memory.
    only: name of the one array of a .npy file.
    owner: who reads, for errors.

  Raises:
    ValueError: there are no such files, or they hold Python objects or damage.
  """

  def __init__(self, path: str | os.PathLike[str], only: str, owner: str):
    self._arguments = os.fspath(path), only, owner
    file = pathlib.Path(path)
    if file.is_dir():
      files = sorted(file.glob("*.npy"))
      if not files:
        raise ValueError(
          f"{owner}: no .npy files in the folder {os.fspath(path)!r}; it must "
          f"have one for each array, such as {only}.npy"
        )
      self._arrays = {x.stem: _npy(x, owner) for x in files}
    elif not file.is_file():
      raise ValueError(f"{owner}: no such file or folder: {os.fspath(path)!r}")
    elif file.suffix.lower() == ".npy":
      self._arrays = {only: _npy(file, owner)}
    elif file.suffix.lower() == ".npz":
      self._arrays = _npz(file, owner)
    else:
      raise ValueError(
        f"{owner}: {os.fspath(path)!r} must end in one of: "
        f"{', '.join(ENDINGS)}, or be a folder of .npy files"
      )

  def __reduce__(self):
    return ArrayFiles, self._arguments

  def __len__(self) -> int:
    return len(self._arrays)

  def __iter__(self) -> Iterator[str]:
    return iter(self._arrays)

  def __getitem__(self, name: str) -> np.ndarray:
    return self._arrays[name]


def _npy(path: pathlib.Path, owner: str) -> np.ndarray:
  try:
    with open(path, "rb") as file:
      np.lib.format.read_magic(file)  # NumPy takes all else for objects
    return np.load(path, mmap_mode="r", allow_pickle=False)
  except (OSError, ValueError, EOFError) as error:
    raise ValueError(_why(path, owner, error)) from error


def _npz(path: pathlib.Path, owner: str) -> dict[str, np.ndarray]:
  arrays: dict[str, np.ndarray] = {}
  packed: list[str] = []
  try:
    with zipfile.ZipFile(path) as archive:
      for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        mapped = _mapped(path, archive, info)
        if mapped is None:
          packed.append(name)
        else:
          arrays[name] = mapped
    if packed:
      logging.info(
        "%s: unpacking %s of %s into memory; np.savez writes files that can be "
        "read where they lie",
        owner,
        ", ".join(packed),
        path,
      )
      with np.load(path, allow_pickle=False) as file:
        arrays |= {name: file[name] for name in packed}
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise ValueError(_why(path, owner, error)) from error
  return arrays


def _mapped(
  path: pathlib.Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo
) -> np.ndarray | None:
  """An array where it lies in the archive; None where it is compressed."""
  if info.compress_type != zipfile.ZIP_STORED:
    return None
  with archive.open(info) as member:
    shape, fortran, dtype = _header(member)
    begin = member.tell()
  if dtype.hasobject:
    raise ValueError("Python objects")
  with open(path, "rb") as file:
    file.seek(info.header_offset)
    local = file.read(_LOCAL_HEADER)
  start = info.header_offset + _LOCAL_HEADER
  start += sum(_NAME_AND_EXTRA.unpack_from(local, _LOCAL_HEADER - 4))
  return np.memmap(
    path,
    dtype,
    mode="r",
    offset=start + begin,
    shape=shape,
    order="F" if fortran else "C",
  )


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
  version = np.lib.format.read_magic(member)
  if version == (1, 0):
    return np.lib.format.read_array_header_1_0(member)
  if version == (2, 0):
    return np.lib.format.read_array_header_2_0(member)
  raise ValueError(f"version {version} of the format is not read")


def _why(path: pathlib.Path, owner: str, error: Exception) -> str:
  if any(word in str(error) for word in _OBJECTS):
    return (
      f"{owner}: {path} holds Python objects, which are not read, as they may "
      "run code; save arrays of numbers or of texts"
    )
  return f"{owner}: cannot read {path}: {error}"
