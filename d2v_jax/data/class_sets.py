"""Records that have any number of classes each."""

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from d2v_jax.data.class_names import check_alike

# Class numbers, increasing; () where a record has none of the classes.
ClassSet = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class ClassSets:
  """Labels that say of each class whether a record has it.

  Args:
    num_classes: C, of all classes.

  Raises:
    ValueError: there is none.
  """

  num_classes: int

  def __post_init__(self) -> None:
    if self.num_classes < 1:
      raise ValueError(
        f"ClassSets: num_classes must be 1 or more, got {self.num_classes}."
      )

  @property
  def num_outputs(self) -> int:
    """Outputs that a head needs: one for each class."""
    return self.num_classes

  def __call__(self, record: Mapping[str, Any]) -> np.ndarray:
    """Label of a record.

    Args:
      record: with `label`, a sequence of class numbers, or one of them.

    Returns:
      bool [C], True for the classes that it has.

    Raises:
      ValueError: if there is no label, or it has another class.
    """
    of = f" of record {record['record']}" if "record" in record else ""
    if "label" not in record:
      raise ValueError(
        f"ClassSets: the record{of} has no 'label', only "
        f"{', '.join(sorted(record))}; choose a source that has it, or leave "
        "config.data.labels out."
      )
    numbers = np.atleast_1d(np.asarray(record["label"]))
    if not numbers.size:
      numbers = numbers.astype(np.int64)
    if numbers.ndim > 1 or not np.issubdtype(numbers.dtype, np.integer):
      raise ValueError(
        f"ClassSets: the label{of} is {record['label']!r}; it must be class "
        "numbers, such as (0, 3)."
      )
    if (
      numbers.size
      and not 0 <= numbers.min() <= numbers.max() < self.num_classes
    ):
      raise ValueError(
        f"ClassSets: the label{of} is {record['label']!r}, but classes are "
        f"counted from 0 to {self.num_classes - 1}; set num_classes to their "
        "number."
      )
    row = np.zeros(self.num_classes, bool)
    row[numbers] = True
    return row


def of_rows(
  rows: Sequence[Any] | np.ndarray,
  owner: str,
  classes: tuple[str, ...] | None = None,
) -> tuple[list[ClassSet], tuple[str, ...]]:
  """Returns the sets of classes of records, and the names of the classes.

  Args:
    rows: of each record the sequence of its classes, names or numbers from 0
      on; or an array [n, C] of booleans, or of 0 and 1.
    owner: what has them, for errors.
    classes: the names in the order of their numbers; None for the sorted
      distinct names, or the numbers up to the largest.

  Raises:
    ValueError: a record has none of these, a class twice, or one that is not
      among `classes`; or no record has any.
  """
  if isinstance(rows, np.ndarray) and rows.dtype != object:
    return _of_columns(rows, owner, classes)
  listed: list[list[Any]] = []
  for i, row in enumerate(rows):
    if row is None or isinstance(row, str | bytes) or np.ndim(row) != 1:
      raise ValueError(
        f"{owner}: record {i} has {row!r}, where others have a list of "
        "classes; give a list of each, [] for none"
      )
    values = [x.item() if isinstance(x, np.generic) else x for x in row]
    if len(set(values)) != len(values):
      raise ValueError(
        f"{owner}: record {i} has a class twice: {values}; give class numbers "
        "or names once each, or an array of 0 and 1 with a column for each "
        "class"
      )
    listed.append(values)
  kinds = {type(x) for values in listed for x in values}
  if not kinds:
    raise ValueError(f"{owner}: no record has any class")
  if kinds == {str}:
    return _of_names(listed, owner, classes)
  if kinds != {int}:
    named = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise ValueError(
      f"{owner}: classes are {named}; give texts, or whole numbers from 0 on"
    )
  numbers = {x for values in listed for x in values}
  smallest, largest = min(numbers), max(numbers)
  count = largest + 1 if classes is None else len(classes)
  if smallest < 0 or largest >= count:
    end = "" if classes is None else f" to {count - 1}"
    raise ValueError(
      f"{owner}: class numbers are {smallest} to {largest}; they count from 0"
      f"{end}"
    )
  names = tuple(map(str, range(count))) if classes is None else classes
  return [tuple(sorted(values)) for values in listed], names


def of_texts(
  texts: Iterable[str], separator: str, owner: str
) -> list[list[str]]:
  """Returns the names of classes that texts list.

  Args:
    texts: names parted by `separator`, or a JSON list of them; spaces around
      names do not count, and the empty text has none.
    separator: such as ','.
    owner: what has them, for errors.

  Raises:
    ValueError: a name is empty, or a list holds something else.
  """
  if not separator:
    raise ValueError(
      f"{owner}: label_separator is empty; give what stands between classes, "
      "such as ','"
    )
  return [_parts(text, separator, i, owner) for i, text in enumerate(texts)]


def _parts(text: str, separator: str, index: int, owner: str) -> list[str]:
  if not text.strip():
    return []
  parts: list[Any] = text.split(separator)
  if text.startswith("["):
    # A name may begin like this, too.
    with contextlib.suppress(ValueError, RecursionError):
      parts = json.loads(text)
  names = [str(x).strip() for x in parts if isinstance(x, str | int)]
  if len(names) < len(parts) or not all(names):
    raise ValueError(
      f"{owner}: record {index} has a class without a name in {text!r}; "
      f"correct it, or change label_separator={separator!r}"
    )
  return names


def _of_columns(
  array: np.ndarray, owner: str, classes: tuple[str, ...] | None
) -> tuple[list[ClassSet], tuple[str, ...]]:
  if array.ndim != 2 or not np.isin(array, (0, 1)).all():
    raise ValueError(
      f"{owner}: labels are {array.dtype} {list(array.shape)}; give one for "
      "each record, or an array of 0 and 1 with a column for each class"
    )
  count = array.shape[1]
  if classes is not None and len(classes) != count:
    raise ValueError(
      f"{owner}: labels have {count} columns, but there are {len(classes)} "
      "classes"
    )
  names = tuple(map(str, range(count))) if classes is None else classes
  return [tuple(np.flatnonzero(row).tolist()) for row in array], names


def _of_names(
  listed: list[list[str]], owner: str, classes: tuple[str, ...] | None
) -> tuple[list[ClassSet], tuple[str, ...]]:
  every = sorted({name for names in listed for name in names})
  if classes is None:
    classes = tuple(every)
    check_alike(classes, owner, "make them one, or give classes")
  number = {name: k for k, name in enumerate(classes)}
  others = [name for name in every if name not in number]
  if others:
    raise ValueError(
      f"{owner}: {len(others)} classes are not among the {len(classes)} given, "
      f"the first is {others[0]!r}; add them to classes"
    )
  return [tuple(sorted(number[x] for x in names)) for names in listed], classes
