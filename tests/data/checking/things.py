"""Records that tests make: numbers, of which some cannot be read."""

import numpy as np

from d2v_jax.data.checking.look import Look, at_anything
from d2v_jax.data.checking.survey import survey
from d2v_jax.data.files.unreadable import Unreadable


class Things:
  """A source of values; None cannot be read, and an error stops all."""

  def __init__(self, values, labels=None, class_names=(), known=False):
    self._values = values
    self._labels = labels
    self.class_names = class_names
    self.labels = labels if known else None

  def __len__(self):
    return len(self._values)

  def __getitem__(self, index):
    value = self._values[index]
    if isinstance(value, Exception):
      raise value
    record = {"x": value}
    if self._labels is not None:
      record["label"] = self._labels[index]
    return record

  def record_name(self, index):
    return f"thing {index}"


def look(record) -> Look:
  if record["x"] is None:
    raise Unreadable("there are 0 of 3")
  return at_anything({"x": np.array([record["x"], 0.5])})


def surveyed(name, values, labels=None, indices=None, **more):
  source = Things(values, labels, **more)
  if indices is None:
    indices = range(len(source))
  return survey(name, source, look, list(indices), threads=2)
