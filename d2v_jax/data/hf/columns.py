"""Columns of files and of arrays; a value is read when it is asked for."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from d2v_jax.data.files.unreadable import Unreadable, read_bytes

_PARTS = ("bytes", "path")


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


def holds_files(feature: Any) -> bool:
  """Whether a column that says no type is of bytes, or of Image's parts."""
  if isinstance(feature, Mapping):
    return set(_PARTS) <= feature.keys() and holds_files(feature["bytes"])
  return getattr(feature, "dtype", None) in ("binary", "large_binary")


def dtype_of(feature: Any) -> np.dtype | None:
  """Of the numbers of a column of arrays; None where it is none."""
  inner, depth = feature, 0
  while hasattr(inner, "feature"):
    inner, depth = inner.feature, depth + 1
  if hasattr(inner, "shape") and hasattr(inner, "dtype"):
    return np.dtype(inner.dtype)
  dtype = getattr(inner, "dtype", "")
  is_number = str(dtype).startswith(("int", "uint", "float"))
  return np.dtype(dtype) if depth and is_number else None
