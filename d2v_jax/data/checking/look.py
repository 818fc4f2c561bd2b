"""What is seen of one record when data are checked."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping

import numpy as np

from d2v_jax.data.source import Record

_DIGEST_BYTES = 16


@dataclasses.dataclass(frozen=True)
class Look:
  """What one record shows.

  Attributes:
    digest: of the content; records of the same content have the same.
    numbers: what is measured, such as 'width, pixels' -> its value.
    kinds: how it is stored, such as 'channels' -> 'RGB'.
    moments: mean and mean of the squares of each channel, float64 [2, C], in
      the unit of the config's mean and std; None where there are no such.
    oddity: what is odd about it, such as 'near-black'; '' for nothing.
  """

  digest: bytes
  numbers: Mapping[str, float] = dataclasses.field(default_factory=dict)
  kinds: Mapping[str, str] = dataclasses.field(default_factory=dict)
  moments: np.ndarray | None = None
  oddity: str = ""


def digest(parts: Iterable[np.ndarray | str | bytes]) -> bytes:
  """Returns what identifies a content.

  Args:
    parts: arrays, of which type and shape count too, and texts.
  """
  found = hashlib.blake2b(digest_size=_DIGEST_BYTES)
  for part in parts:
    if isinstance(part, np.ndarray):
      found.update(f"{part.dtype.str} {part.shape}".encode())
      found.update(np.ascontiguousarray(part).tobytes())
    else:
      data = part if isinstance(part, bytes) else part.encode(errors="replace")
      found.update(f"{type(part).__name__} {len(data)} ".encode())
      found.update(data)
  return found.digest()


def at_anything(record: Record) -> Look:
  """Looks at a record of any kind, its label apart.

  Args:
    record: arrays, bytes, texts and numbers by name.
  """
  numbers: dict[str, float] = {}
  kinds: dict[str, str] = {}
  odd = set()
  content: list[np.ndarray | str | bytes] = []
  for name in sorted(record.keys() - {"label", "requested", "record"}):
    value = record[name]
    content.append(name)
    if not isinstance(value, np.ndarray):
      content.append(value if isinstance(value, str | bytes) else repr(value))
      if isinstance(value, str | bytes):
        numbers[f"{name}, length"] = len(value)
      continue
    content.append(value)
    if value.ndim:
      numbers[f"{name}, length"] = len(value)
      kinds[name] = " x ".join([str(value.dtype), *map(str, value.shape[1:])])
    if value.dtype.kind == "f" and not np.isfinite(value).all():
      odd.add("not all values are finite")
    elif value.size > 1 and value.dtype.kind in "iuf" and np.ptp(value) == 0:
      odd.add("one value all over")
  return Look(digest(content), numbers, kinds, oddity=", ".join(sorted(odd)))
