"""Features as a table that data frames and viewers of embeddings open."""

import json
import pathlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from d2v_jax.data.files.unreadable import shown
from d2v_jax.extraction.feature_table import FeatureTable

# Examples that are written at once, a group of rows of the file.
_GROUP = 1024


def write_parquet(path: pathlib.Path, table: FeatureTable) -> None:
  """Writes a row for each example.

  Columns: `name` (bytes that are no text are escaped, as everywhere where it
  is shown), `features`, lists of fixed lengths, one in the other for each axis,
  in a list for each token where tokens are asked for, `label` where there are
  labels, and `class`, its name, where classes have names. The schema's metadata
  have `d2v_jax`, JSON.

  Args:
    path: the file.
    table: what to write.
  """
  writer = None
  try:
    for start in range(0, len(table.names), _GROUP):
      places = range(start, min(start + _GROUP, len(table.names)))
      columns = _columns(table, places)
      if writer is None:
        metadata = {"d2v_jax": json.dumps(table.metadata)}
        schema = pa.table(columns).schema.with_metadata(metadata)
        writer = pq.ParquetWriter(path, schema, compression="zstd")
      writer.write_table(pa.table(columns, schema=schema))
  finally:
    if writer is not None:
      writer.close()


def _columns(table: FeatureTable, places: range) -> dict[str, Any]:
  examples = [table.example(i) for i in places]
  if table.sizes is None:
    features = _lists(np.stack(examples))
  else:
    ends = np.cumsum([0, *map(len, examples)])
    features = pa.ListArray.from_arrays(
      pa.array(ends, pa.int32()), _lists(np.concatenate(examples))
    )
  columns = {
    "name": pa.array([shown(table.names[i]) for i in places], pa.string()),
    "features": features,
  }
  if table.labels is not None:
    labels = table.labels[places.start : places.stop]
    columns["label"] = _lists(labels)
    names = table.metadata.get("class_names")
    if names and np.issubdtype(labels.dtype, np.integer):
      columns["class"] = pa.array([names[i] for i in labels], pa.string())
  return columns


def _lists(values: np.ndarray) -> pa.Array:
  """[n, a, b] as n lists of a lists of b values."""
  found = pa.array(values.reshape(-1))
  for size in reversed(values.shape[1:]):
    found = pa.FixedSizeListArray.from_arrays(found, size)
  return found
