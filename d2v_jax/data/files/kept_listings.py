"""Lists of large folders, kept for later runs as long as they are true.

A folder's times change with every name that is added, removed or renamed in it.
So a list is taken over only where each folder that it was made from still is
the same one, with the same times of modification and of change to the
nanosecond; no content of files is in a list. It is not kept where times might
not tell: where a folder has changed in the last minute, where there are links,
and on file systems whose folders may have made-up times, such as those that
show a bucket as folders.
"""

import hashlib
import json
import logging
import os
import pathlib
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np

from d2v_jax import storage
from d2v_jax.data.columns import TextColumn

_FORMAT = 1
_SETTLED = 60  # seconds since the last change of any folder
# File systems whose folders have times that every change of a name sets.
_TRUE_TIMES = {
  *("ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"),
  *("ceph", "gpfs", "lustre", "nfs", "nfs4"),
}
_MOUNTED = pathlib.Path("/proc/self/mountinfo")

LeftOut = Mapping[str, Sequence[str]]
Stamps = Mapping[str, tuple[int, ...]]


def folder() -> pathlib.Path:
  """Where lists are kept; it may be emptied at any time."""
  return storage.cache_folder("listings")


def stamp(status: os.stat_result) -> tuple[int, ...]:
  """What identifies a folder and the names in it."""
  return (
    status.st_dev,
    status.st_ino,
    status.st_mtime_ns,
    status.st_ctime_ns,
  )


def load(
  root: str, endings: tuple[str, ...]
) -> tuple[TextColumn, dict[str, tuple[str, ...]]] | None:
  """Returns the files below a folder and what is left out, if still true.

  Args:
    root: the folder.
    endings: of the files.

  Returns:
    None where no list is kept, or a folder has changed since.
  """
  path = _path(root, endings)
  try:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
      rest = json.loads(kept["rest"].tobytes())
      for name, was in rest["stamps"].items():
        if list(stamp(os.stat(os.path.join(root, name)))) != was:
          return None
      files = TextColumn.of(kept["files"], kept["ends"])
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    return None
  logging.info(
    "%d files in %s: the list in %s still holds", len(files), root, path
  )
  return files, {k: tuple(names) for k, names in rest["left_out"].items()}


def keep(
  root: str,
  endings: tuple[str, ...],
  files: TextColumn,
  left_out: LeftOut,
  stamps: Stamps,
) -> None:
  """Keeps a list, unless its folders have changed just now.

  Args:
    root: the folder.
    endings: of the files.
    files: their names.
    left_out: reason -> names.
    stamps: folder, relative to root -> `stamp` from before it was listed.
  """
  newest = max(max(times) for _, _, *times in stamps.values())
  if time.time() - newest / 1e9 < _SETTLED:
    return
  if not _have_true_times({device for device, *_ in stamps.values()}):
    return
  content, ends = files.arrays
  rest = json.dumps({"left_out": left_out, "stamps": stamps}).encode()
  path = _path(root, endings)
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The old list, or none, is there until the new one is whole.
    with tempfile.TemporaryDirectory(dir=path.parent) as unfinished:
      new = pathlib.Path(unfinished) / path.name
      np.savez(
        new, files=content, ends=ends, rest=np.frombuffer(rest, np.uint8)
      )
      new.replace(path)
  except OSError as error:
    logging.info("the list of %s is not kept: %s", root, error)


def _have_true_times(devices: set[int]) -> bool:
  """Whether all these devices are known for it."""
  kinds = {}
  try:
    for line in _MOUNTED.read_text(errors="replace").splitlines():
      mount, _, rest = line.partition(" - ")
      major, minor = mount.split()[2].split(":")
      kinds[os.makedev(int(major), int(minor))] = rest.split()[0]
  except OSError:  # not Linux
    return False
  return all(kinds.get(device) in _TRUE_TIMES for device in devices)


def _path(root: str, endings: tuple[str, ...]) -> pathlib.Path:
  key = json.dumps([_FORMAT, os.path.realpath(root), endings])
  return folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
