"""Tells the data of a run from other data, by names and sizes alone."""

import hashlib
import os
import re
import stat

from d2v_jax.data.source import Source

# Records that are looked at, spread evenly: enough for any exchange of many.
_LOOKED_AT = 4096

NAME = "fingerprint of the records' names and sizes"

# How records of one file are called: 'verses.tsv:12', 'images.npz[3]'.
_WITHIN = re.compile(r"(.+)(?::\d+|\[\d+\])", re.DOTALL)


def fingerprint(source: Source) -> str:
  """A checksum of the number of records, of their names and of files' sizes.

  Names count from the last folder that all of them share, so that data may be
  moved as a whole. Of a file, or a folder of files, that holds many records it
  is the size of all that counts. No record is read.

  Args:
    source: of records, with one or more.

  Returns:
    16 hexadecimal digits.
  """
  total = len(source)
  step = -(-total // _LOOKED_AT) or 1
  names = [source.record_name(i) for i in range(0, total, step)]
  shared = _shared(min(names), max(names))
  digest = hashlib.sha256(f"{total}".encode())
  sizes: dict[str, int | None] = {}
  for name in names:
    place = _place(name)
    if place not in sizes:
      sizes = {place: _size(place)}  # records of one file follow each other
    digest.update(
      f"\n{name[shared:]}\t{sizes[place]}".encode("utf-8", "replace")
    )
  return digest.hexdigest()[:16]


def _shared(first: str, last: str) -> int:
  """Length of the folder that both names begin with."""
  pairs = enumerate(zip(first, last, strict=False))
  differ = next((i for i, (a, b) in pairs if a != b), len(first))
  return len(first[:differ].rpartition("/")[0])


def _place(name: str) -> str:
  """The path of the file, or of the folder, that a record is in."""
  inside = _WITHIN.fullmatch(name)
  if inside is None or os.path.exists(name):
    return name
  return inside[1]


def _size(path: str) -> int | None:
  """Bytes of a file, or of those in a folder; None where there is none."""
  try:
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
      return status.st_size
    with os.scandir(path) as files:
      return sum(file.stat().st_size for file in files if file.is_file())
  except (OSError, ValueError):
    return None
