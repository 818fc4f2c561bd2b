"""Rows of Parquet and Arrow files and of Hugging Face datasets, at random.

They are mapped into memory; a row is read when it is asked for.
"""

import glob
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from d2v_jax.data.files.unreadable import Unreadable, read_bytes
from d2v_jax.data.label_values import labelled

_KINDS = {".parquet": "parquet", ".arrow": "arrow"}
_SAVED = ("dataset_info.json", "dataset_dict.json")  # by save_to_disk
_AT_ONCE = 1000  # rows that are objects while a column is read
_GLOB = "*?["


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
  ) -> "FileColumn | ArrayColumn":
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
    if type(feature).__name__ == kind or _holds_files(feature):
      return FileColumn(self.dataset.select_columns([column]), column)
    dtype = _dtype(feature)
    if dtype is None:
      raise ValueError(
        f"HfRows: {self.name}: {column!r} is {feature}, no {argument}; it must "
        f"be of the type {kind}, bytes of files, or arrays; set {argument} to "
        f"one of: {', '.join(self.features)}"
      )
    return ArrayColumn(self.dataset.select_columns([column]), column, dtype)

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
  ) -> tuple[list[int] | list[float] | None, tuple[str, ...]]:
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
    named = getattr(self.features[column], "names", None)
    if classes is None and named and not numeric:
      classes = tuple(named)
    only = self.dataset.select_columns([column])
    values = [x for some in only.iter(_AT_ONCE) for x in some[column]]
    owner = f"HfRows: {self.name}: {column!r}"
    return labelled(values, owner, classes=classes, numeric=numeric)


class FileColumn:
  """Encoded files, in a column or beside it."""

  def __init__(self, dataset: Any, column: str):
    self._dataset, self._column = dataset, column
    self._tables = dataset.with_format("arrow")

  def __getitem__(self, index: int) -> bytes:
    """Returns the bytes of a file.

    Raises:
      Unreadable: there is none.
    """
    value = self._dataset[int(index)][self._column]
    if isinstance(value, Mapping):
      if value.get("bytes") is None and value.get("path"):
        return read_bytes(value["path"])
      value = value.get("bytes")
    if value is None:
      raise Unreadable("the row has none")
    return value

  def opened(self, index: int) -> Any:
    """Returns the path of a file, or one in memory of which little is read.

    Raises:
      Unreadable: there is none.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    table = self._tables[int(index) : int(index) + 1]
    value = table.column(self._column)
    if pa.types.is_struct(value.type):
      parts = {name: pc.struct_field(value, name)[0] for name in _PARTS}
      if not parts["bytes"].is_valid and parts["path"].as_py():
        return parts["path"].as_py()
      found = parts["bytes"]
    else:
      found = value[0]
    if not found.is_valid:
      raise Unreadable("the row has none")
    return pa.BufferReader(found.as_buffer())


class ArrayColumn:
  """Arrays of numbers."""

  def __init__(self, dataset: Any, column: str, dtype: np.dtype):
    self._tables = dataset.with_format("arrow")
    self._column, self._dtype = column, dtype

  def __getitem__(self, index: int) -> np.ndarray:
    """Returns an array.

    Raises:
      Unreadable: there is none, or it is ragged.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    table = self._tables[int(index) : int(index) + 1]
    values = table.column(self._column).combine_chunks()
    if isinstance(values, pa.ExtensionArray):
      values = values.storage
    shape: list[int] = []
    while pa.types.is_nested(values.type):
      lengths = pc.list_value_length(values).unique()
      if values.null_count or len(lengths) > 1:
        ragged = "its rows differ in length, or are missing"
        raise Unreadable(ragged if shape else "the row has none")
      shape.append(lengths[0].as_py() if len(lengths) else 0)
      values = values.flatten()
    if values.null_count:
      raise Unreadable(f"{values.null_count} of its numbers are missing")
    return values.to_numpy().astype(self._dtype, copy=False).reshape(shape)


_PARTS = ("bytes", "path")


def is_dataset(value: Any) -> bool:
  """Whether something is a dataset with random access, of the package."""
  package = sys.modules.get("datasets")
  return package is not None and isinstance(value, package.Dataset)


def load(
  path: str,
  split: str | None = None,
  subset: str | None = None,
  revision: str | None = None,
  streaming: bool = False,
) -> HfRows:
  """Opens a dataset.

  Args:
    path: a folder that `save_to_disk` wrote; a folder of files that the package
      reads; a Parquet or Arrow file, or a glob of them; or a name on the hub,
      which is downloaded, unless it is in the cache.
    split: such as 'train' or, but of saved ones, 'train[:10%]'; None for the
      only one.
    subset: configuration of the dataset; None for the only one.
    revision: commit or tag on the hub; None for the newest.
    streaming: must be False.

  Raises:
    ValueError: it is not there, has no such split, or cannot be read; or the
      package is not installed; or `streaming`.
  """
  if streaming:
    raise ValueError(
      "HfRows: streaming=True gives rows in one order only, so that a run "
      "could neither shuffle all of them nor go on exactly where it stopped; "
      f"leave it out: {path!r} is then downloaded once and read at random"
    )
  try:
    import datasets
  except ImportError as error:
    raise ValueError(
      "HfRows: the source 'hf' needs the package datasets; install it with pip "
      "install 'd2v_jax[hf]'"
    ) from error
  name = os.path.normpath(path) + (f"/{subset}" if subset else "")
  try:
    found = _opened(path, split, subset, revision)
  except ConnectionError as error:
    raise ValueError(
      f"HfRows: {path!r} is no file or folder here, and the hub cannot be "
      f"reached ({error}); check the path, or load it once where there is a "
      "network, by datasets.load_dataset into the cache that HF_HOME names, or "
      "by save_to_disk into a folder whose path is given here"
    ) from error
  except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
    why = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
    raise ValueError(f"HfRows: cannot open {path!r}: {why}") from error
  if isinstance(found, dict):
    if split is None and len(found) == 1:
      split = next(iter(found))
    if split not in found:
      said = "split is missing" if split is None else f"no split {split!r}"
      raise ValueError(
        f"HfRows: {path!r}: {said}; choose one of: {', '.join(found)}"
        + ("" if split is None or "[" not in split else ", whole")
      )
    found = found[split]
  return HfRows(found, f"{name}/{split}" if split else name)


def _opened(
  path: str, split: str | None, subset: str | None, revision: str | None
) -> Any:
  """A dataset, or a dict of those by split."""
  import datasets

  if any(os.path.isfile(os.path.join(path, file)) for file in _SAVED):
    found = datasets.load_from_disk(path)
    own = str(getattr(found, "split", None) or "")
    if split not in (None, own) and not isinstance(found, dict):
      raise ValueError(
        f"it is one set, {own or 'of no split'}, and has no {split!r}; leave "
        "split out"
      )
    return found
  kind = _KINDS.get(os.path.splitext(path)[1].lower())
  if kind is None and not any(character in path for character in _GLOB):
    return datasets.load_dataset(path, subset, split=split, revision=revision)
  files = sorted(glob.glob(path, recursive=True)) or [path]
  kinds = {_KINDS.get(os.path.splitext(x)[1].lower()) for x in files}
  if len(kinds) > 1 or None in kinds or not os.path.exists(files[0]):
    raise ValueError(
      "there must be files that all end in .parquet, or all in .arrow; found "
      f"{', '.join(files[:3]) if os.path.exists(files[0]) else 'none'}"
    )
  return datasets.load_dataset(kinds.pop(), data_files=files, split=split)


def _holds_files(feature: Any) -> bool:
  """Whether a column that says no type is of bytes, or of Image's parts."""
  if isinstance(feature, Mapping):
    return set(_PARTS) <= feature.keys() and _holds_files(feature["bytes"])
  return getattr(feature, "dtype", None) in ("binary", "large_binary")


def _dtype(feature: Any) -> np.dtype | None:
  """Of the numbers of a column of arrays; None where it is none."""
  inner, depth = feature, 0
  while hasattr(inner, "feature"):
    inner, depth = inner.feature, depth + 1
  if hasattr(inner, "shape") and hasattr(inner, "dtype"):
    return np.dtype(inner.dtype)
  dtype = getattr(inner, "dtype", "")
  is_number = str(dtype).startswith(("int", "uint", "float"))
  return np.dtype(dtype) if depth and is_number else None
