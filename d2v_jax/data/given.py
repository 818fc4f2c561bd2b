"""Data that a run is given in Python, instead of where they lie."""

import collections
import dataclasses
import hashlib
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from d2v_jax.data.checking import look
from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.source import Record, Source

NAME = "given"  # in a section of a config

_LOOKED_AT = 16  # records that tell data from other data


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given:
  """A section of a config that stands for data given in Python.

  Args:
    split: name that they are given by.
  """

  split: str = "train"

  def __post_init__(self) -> None:
    if not self.split:
      raise ValueError("Given: split must be a name, got ''")


class GivenRecords:
  """Records of a source of the caller, such as one of Grain's.

  Args:
    source: records at random: it has a length, and `source[i]` is a dict.
    name: of the split, for names of records.
    key: what a record must have.
    made: a record as it is given -> as it is used.

  Attributes:
    class_names: the source's, or ().

  Raises:
    ValueError: there is no such access, or the first record is none.
  """

  def __init__(
    self, source: Any, name: str, key: str, made: Callable[[Record], Record]
  ):
    at_random = hasattr(source, "__len__") and hasattr(source, "__getitem__")
    if not at_random:
      raise ValueError(
        f"data: {name!r} is of the type {type(source).__name__}, which gives "
        "no record by its number, as resuming and shuffling need; give arrays, "
        "a list, or a source with a length and source[i], such as Grain's "
        "RandomAccessDataSource"
      )
    if not 0 < len(source) < sys.maxsize:
      what = "empty" if not len(source) else "without end; do not repeat it"
      raise ValueError(f"data: {name!r} is {what}")
    self._source, self._name, self._key, self._made = source, name, key, made
    self.class_names = tuple(getattr(source, "class_names", ()))
    _ = self[0]

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> Record:
    record = self._source[int(index)]
    if not isinstance(record, Mapping) or self._key not in record:
      is_dict = isinstance(record, Mapping)
      got = sorted(record) if is_dict else type(record).__name__
      raise ValueError(
        f"data: {self.record_name(index)} must be a dict with {self._key!r}, "
        f"got {got}"
      )
    return self._made(dict(record))

  def record_name(self, index: int) -> str:
    """Returns for example 'train[3]'."""
    return f"{self._name}[{index}]"


def is_arrays(value: Any) -> bool:
  """Whether data are an array or a list of values, not records."""
  if isinstance(value, list | tuple):
    return not (value and isinstance(value[0], Mapping))
  return isinstance(value, np.ndarray) or hasattr(value, "__array__")


def arrays_and_options(
  value: Mapping[str, Any], kind: type
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Parts what is given into arrays, and arguments of the class of them.

  Args:
    value: both, by name.
    kind: the class. Names of arrays are what its arguments stand for by
      default, or in given data always.

  Raises:
    ValueError: there is a name that is neither.
  """
  parameters = inspect.signature(kind).parameters
  options = {"rate", "classes", "numeric"} & parameters.keys()
  arrays = parameters.keys() - options - {"arrays", "name"}
  unknown = sorted(set(value) - options - arrays)
  if unknown:
    raise ValueError(
      f"data: unknown {unknown[0]!r}; give arrays by the names "
      f"{', '.join(sorted(arrays))}"
      + (f", and {', '.join(sorted(options))}" if options else "")
    )
  return (
    {k: v for k, v in value.items() if k in arrays},
    {k: v for k, v in value.items() if k in options},
  )


def fingerprint(source: Source) -> str:
  """Returns what tells records from others, by their number and some of them.

  Args:
    source: the records.
  """
  found = hashlib.blake2b(str(len(source)).encode(), digest_size=8)
  places = np.linspace(0, len(source) - 1, _LOOKED_AT).round().astype(int)
  for index in dict.fromkeys(places.tolist()):
    try:
      record = source[index]
      found.update(look.at_anything(record).digest)
      found.update(repr(record.get("label")).encode())
    except Unreadable as error:
      found.update(str(error).encode())
  return found.hexdigest()


def splits(data: Any) -> dict[str, Any]:
  """Returns given data by the names of their splits.

  Args:
    data: of each split, by name; or those of one, which then is 'train'.
  """
  return dict(data) if is_splits(data) else {"train": data}


def is_splits(data: Any) -> bool:
  """Whether given data are of splits by name, not of one."""
  one = {"image", "audio", "signal", "text"}
  return isinstance(data, Mapping) and not one & data.keys()


def mentioned(config: Any) -> set[str]:
  """Returns the splits that sections of a config stand for.

  Args:
    config: sections and lists in any depth.
  """
  found = set()
  rest = collections.deque([config])
  while rest:
    node = rest.popleft()
    if isinstance(node, Mapping):
      if node.get("name") == NAME:
        found.add(node.get("split", Given.split))
      rest.extend(node.values())
    elif isinstance(node, list | tuple):
      rest.extend(node)
  return found
