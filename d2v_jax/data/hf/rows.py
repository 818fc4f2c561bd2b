"""Rows of a dataset, which are mapped into memory, and its labels and texts."""

from collections.abc import Iterator, Mapping
from typing import Any

from d2v_jax.data.hf import columns
from d2v_jax.data.label_values import LabelValues, labelled

_AT_ONCE = 1000  # rows that are objects while a column is read


class HfRows:
  """Rows of a dataset, and what is known of their columns.

  Args:
    dataset: of the package `datasets`.
    name: of it, for names of rows.

  Attributes:
    dataset: as given; what is encoded stays so.
    features: name of a column -> its type.
    name: as given.

  Raises:
    ValueError: it has no rows.
  """

  def __init__(self, dataset: Any, name: str):
    import datasets  # slow to import

    if not len(dataset):
      raise ValueError(f"HfRows: {name} has no rows")
    dataset = dataset.with_format(None)
    for column, feature in dataset.features.items():
      if isinstance(feature, datasets.Image | datasets.Audio):
        encoded = type(feature)(decode=False)
        dataset = dataset.cast_column(column, encoded)
    self.dataset = dataset
    self.features: Mapping[str, Any] = dataset.features
    self.name = name

  def __len__(self) -> int:
    return len(self.dataset)

  def row_name(self, index: int) -> str:
    """Returns for example 'cifar10/train[3]'."""
    return f"{self.name}[{index}]"

  def check(self, column: str, argument: str) -> None:
    """Raises ValueError unless there is such a column.

    Args:
      column: its name.
      argument: that the name was given by, for the error.
    """
    if column not in self.features:
      raise ValueError(
        f"HfRows: {self.name} has no column {column!r}; set {argument} to one "
        f"of: {', '.join(self.features)}"
      )

  def column_of(
    self, kind: str, column: str | None, argument: str
  ) -> columns.FileColumn | columns.ArrayColumn:
    """Returns a column of images or recordings.

    Args:
      kind: 'Image' or 'Audio', a type of the package.
      column: its name; None for the only one of this type, or the one that is
        called like the argument.
      argument: that the name was given by, for errors.

    Raises:
      ValueError: there is none, or it holds something else.
    """
    if column is None:
      typed = [k for k, f in self.features.items() if type(f).__name__ == kind]
      if len(typed) > 1:
        raise ValueError(
          f"HfRows: {self.name} has several columns of {kind}; set {argument} "
          f"to one of: {', '.join(typed)}"
        )
      column = typed[0] if typed else argument
    self.check(column, argument)
    feature = self.features[column]
    if type(feature).__name__ == kind or columns.holds_files(feature):
      return columns.FileColumn(self.dataset.select_columns([column]), column)
    return self.arrays_of(
      column, argument, f"of the type {kind}, bytes of files, or arrays"
    )

  def arrays_of(
    self, column: str, argument: str, choices: str
  ) -> columns.ArrayColumn:
    """Returns a column of arrays.

    Args:
      column: its name.
      argument: that the name was given by, for errors.
      choices: what it may be, for errors.

    Raises:
      ValueError: there is none, or it holds something else.
    """
    self.check(column, argument)
    dtype = columns.dtype_of(self.features[column])
    if dtype is None:
      raise ValueError(
        f"HfRows: {self.name}: {column!r} is {self.features[column]}, no "
        f"{argument}; it must be {choices}; set {argument} to one of: "
        f"{', '.join(self.features)}"
      )
    return columns.ArrayColumn(
      self.dataset.select_columns([column]), column, dtype
    )

  def texts(self, column: str, argument: str) -> Iterator[str]:
    """Returns the texts of a column, '' where there is none.

    Args:
      column: its name.
      argument: that the name was given by, for errors.

    Raises:
      ValueError: there is no such column, or no text in it.
    """
    self.check_text(column, argument)
    only = self.dataset.select_columns([column])
    return (text or "" for some in only.iter(_AT_ONCE) for text in some[column])

  def check_text(self, column: str, argument: str) -> None:
    """Raises ValueError unless there is such a column of texts."""
    self.check(column, argument)
    dtype = getattr(self.features[column], "dtype", None)
    if dtype not in ("string", "large_string"):
      raise ValueError(
        f"HfRows: {self.name}: {column!r} is {self.features[column]}, no text; "
        f"set {argument} to one of: {', '.join(self.features)}"
      )

  def labels(
    self,
    column: str | None,
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
  ) -> tuple[LabelValues | None, tuple[str, ...]]:
    """Returns the labels of all rows and the names of their classes.

    Args:
      column: its name; 'label' may be missing; None for no labels.
      classes: see `labelled`; None for those of the column, if it has any.
      numeric: labels are numbers, not classes.

    Returns:
      None and () where there are none.

    Raises:
      ValueError: there is no such column, or a label is missing or wrong.
    """
    if column is None or (column == "label" and column not in self.features):
      return None, ()
    self.check(column, "label")
    feature = self.features[column]
    feature = getattr(feature, "feature", feature)  # of a list, of its items
    named = getattr(feature, "names", None)
    if classes is None and named and not numeric:
      classes = tuple(named)
    only = self.dataset.select_columns([column])
    values = [x for some in only.iter(_AT_ONCE) for x in some[column]]
    owner = f"HfRows: {self.name}: {column!r}"
    return labelled(values, owner, classes=classes, numeric=numeric)
