"""Labels as they are stored, and the classes that they mean."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from d2v_jax.data import class_sets
from d2v_jax.data.class_names import check_alike

# Of each record its class, its score, or all of its classes.
LabelValues = list[int] | list[float] | list[class_sets.ClassSet]

_MOST_CLASSES = 100_000


def labelled(
  values: Sequence[Any] | np.ndarray,
  owner: str,
  *,
  classes: tuple[str, ...] | None = None,
  numeric: bool = False,
) -> tuple[LabelValues, tuple[str, ...]]:
  """Returns the labels of records, and the names of their classes.

  Args:
    values: whole numbers, which are classes from 0 on, or texts, which are
      their names; numbers if `numeric`; or several classes of each record, see
      `class_sets.of_rows`.
    owner: what has them, for errors.
    classes: the names in the order of their numbers; None for the numbers up to
      the largest, or the sorted distinct texts.
    numeric: labels are numbers, not classes.

  Returns:
    Class numbers, floats if `numeric`, or sets of class numbers; and the names,
    () if `numeric`.

  Raises:
    ValueError: a label is missing or none of these.
  """
  if classes is not None and numeric:
    raise ValueError(f"{owner}: give classes or numeric=True, not both")
  if classes is not None and len(set(classes)) != len(classes):
    raise ValueError(f"{owner}: classes has a class twice: {classes}")
  missing = [i for i, value in enumerate(values) if value is None]
  if missing:
    raise ValueError(_without(owner, "missing", missing, len(values)))
  if _are_sets(values):
    if numeric:
      raise ValueError(
        f"{owner}: labels are several for a record; set numeric=False"
      )
    return class_sets.of_rows(values, owner, classes)
  found = np.asarray(values)
  kind = found.dtype.kind
  if numeric:
    return _numbers(found, owner), ()
  if kind in "biu":
    return _class_numbers(found.astype(np.int64), owner, classes)
  if kind in "US" or all(isinstance(x, str) for x in found.tolist()):
    texts = [x.decode() if isinstance(x, bytes) else x for x in found.tolist()]
    return _named(texts, owner, classes)
  raise ValueError(
    f"{owner}: labels are {found.dtype}; classes are whole numbers from 0 on, "
    "or texts"
  )


def of_record(value: Any) -> int | float | class_sets.ClassSet:
  """Returns the label of one record.

  Args:
    value: a number, or a sequence of class numbers.
  """
  array = np.asarray(value)
  return array.item() if not array.ndim else tuple(array.tolist())


def _are_sets(values: Sequence[Any] | np.ndarray) -> bool:
  if isinstance(values, np.ndarray) and values.dtype != object:
    return values.ndim != 1
  return any(isinstance(x, list | tuple | np.ndarray) for x in values)


def _numbers(found: np.ndarray, owner: str) -> list[float]:
  if found.dtype.kind not in "biuf":
    raise ValueError(
      f"{owner}: labels are {found.dtype}, not numbers; set numeric=False"
    )
  wrong = np.flatnonzero(~np.isfinite(found.astype(np.float64)))
  if len(wrong):
    raise ValueError(_without(owner, "not finite", wrong, len(found)))
  return found.astype(np.float64).tolist()


def _class_numbers(
  found: np.ndarray, owner: str, classes: tuple[str, ...] | None
) -> tuple[list[int], tuple[str, ...]]:
  wrong = np.flatnonzero(found < 0)
  if len(wrong):
    what = f"{found[wrong[0]]}, which stands for none,"
    raise ValueError(_without(owner, what, wrong, len(found)))
  most = int(found.max(initial=-1))
  if classes is None and most >= _MOST_CLASSES:
    raise ValueError(
      f"{owner}: the largest label is {most}; class numbers go from 0 to the "
      f"number of classes, at most {_MOST_CLASSES}, less 1"
    )
  if classes is not None and most >= len(classes):
    raise ValueError(
      f"{owner}: the largest label is {most}, but there are {len(classes)} "
      "classes, which are counted from 0"
    )
  names = tuple(map(str, range(most + 1))) if classes is None else classes
  return found.tolist(), names


def _named(
  texts: list[str], owner: str, classes: tuple[str, ...] | None
) -> tuple[list[int], tuple[str, ...]]:
  empty = [i for i, text in enumerate(texts) if not text]
  if empty:
    raise ValueError(_without(owner, "empty", empty, len(texts)))
  if classes is None:
    classes = tuple(sorted(set(texts)))
    check_alike(classes, owner, "make them one, or give classes")
  number = {name: k for k, name in enumerate(classes)}
  others = sorted(set(texts) - set(classes))
  if others:
    raise ValueError(
      f"{owner}: the label {others[0]!r} is not among the classes "
      f"{', '.join(map(repr, classes[:20]))}"
    )
  return [number[text] for text in texts], classes


def _without(
  owner: str, what: str, records: Sequence[int] | np.ndarray, total: int
) -> str:
  return (
    f"{owner}: the label of record {records[0]} is {what} as of {len(records)} "
    f"of {total}; leave such records out, or set label=None"
  )
