"""Sources whose class numbers are put into the order of a network's classes."""

from typing import Any

import numpy as np

from d2v_jax.config import ConfigError
from d2v_jax.data.source import Record

_SHOWN = 8  # classes that an error names


def renumbered(source: Any, classes: tuple[str, ...] | None, where: str) -> Any:
  """A source with the class numbers that a network was trained with.

  Args:
    source: records; without classes of its own it comes back as it is.
    classes: the network's, in the order of their numbers; None for any.
    where: path of the source in the config, for errors.

  Raises:
    ConfigError: the source has a class that the network does not have.
  """
  names = tuple(getattr(source, "class_names", ()))
  if classes is None or not names or names == classes:
    return source
  others = [name for name in names if name not in classes]
  if not others:
    return Renumbered(source, tuple(map(classes.index, names)), classes)
  if names == tuple(map(str, range(len(names)))) and len(names) <= len(classes):
    # Numbers are not names: they are meant as the network's.
    return Renumbered(source, tuple(range(len(names))), classes)
  raise ConfigError(
    f"{where}: its classes {_listed(others)} are none of the network's, which "
    f"are {_listed(classes)}; rename them, leave them out, or set "
    "config.data.classes to the names of the network's outputs in their order."
  )


class Renumbered:
  """Records of a source, with other class numbers; else it is the source.

  Args:
    source: records.
    numbers: class number of the source -> that of the result.
    class_names: of the result.
  """

  def __init__(
    self, source: Any, numbers: tuple[int, ...], class_names: tuple[str, ...]
  ):
    self._source = source
    self._numbers = numbers
    self.class_names = class_names

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> Record:
    record = self._source[index]
    if "label" not in record:
      return record
    return {**record, "label": self._renumber(record["label"])}

  @property
  def labels(self) -> list[Any] | None:
    """Class numbers of all records, where the source knows them."""
    labels = getattr(self._source, "labels", None)
    return None if labels is None else [self._renumber(x) for x in labels]

  def _renumber(self, label: Any) -> Any:
    """A class number, or the numbers of a set of classes in order."""
    if np.ndim(label) == 0:
      return self._numbers[int(label)]
    return tuple(sorted(self._numbers[int(x)] for x in label))

  def __getattr__(self, name: str) -> Any:
    # Not while it is unpickled, when there is no source yet.
    if name.startswith("_"):
      raise AttributeError(name)
    return getattr(self._source, name)


def _listed(names: Any) -> str:
  shown = ", ".join(map(repr, names[:_SHOWN]))
  return shown if len(names) <= _SHOWN else f"{shown}, ... ({len(names)})"
