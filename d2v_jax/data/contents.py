"""Tells the data of a run from other data, by names and sizes alone."""

import hashlib
import os

from d2v_jax.data.source import Source

# Records that are looked at, spread evenly: enough for any exchange of many.
_LOOKED_AT = 4096

NAME = "fingerprint of the records' names and sizes"


def fingerprint(source: Source) -> str:
  """A checksum of the number of records, of their names and of files' sizes.

  Names count from the last folder that all of them share, so that data may be
  moved as a whole. No record is read.

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
  for name in names:
    digest.update(
      f"\n{name[shared:]}\t{_size(name)}".encode("utf-8", "replace")
    )
  return digest.hexdigest()[:16]


def _shared(first: str, last: str) -> int:
  """Length of the folder that both names begin with."""
  pairs = enumerate(zip(first, last, strict=False))
  differ = next((i for i, (a, b) in pairs if a != b), len(first))
  return len(first[:differ].rpartition("/")[0])


def _size(name: str) -> int | None:
  """Bytes of the file of this name; None where it is the name of no file."""
  try:
    return os.stat(name).st_size
  except (OSError, ValueError):
    return None
