"""The files that features are written to."""

import io
import json
import pathlib
import zipfile

import numpy as np
from array_record.python import array_record_module

from d2v_jax.extraction.destination import Destination
from d2v_jax.extraction.feature_table import FLOAT, FeatureTable
from d2v_jax.extraction.parquet import write_parquet


def write_npz(path: pathlib.Path, table: FeatureTable) -> None:
  """Writes arrays for np.load: features, names, metadata and the rest."""
  metadata = np.array(json.dumps(table.metadata))
  small = {**table.small(), "names": np.array(table.names)}
  with path.open("wb") as file:
    _npz(file, {**small, "metadata": metadata}, table)


def _npz(file, arrays, table=None):
  # The same bytes each time: entries of the archive have no date.
  with zipfile.ZipFile(file, "w") as archive:
    for name, array in arrays.items():
      with _entry(archive, name) as out:
        np.lib.format.write_array(out, array, allow_pickle=False)
    if table is None:
      return
    with _entry(archive, "features") as out:
      header = {
        "descr": FLOAT.str,
        "fortran_order": False,
        "shape": table.rows.shape,
      }
      np.lib.format.write_array_header_1_0(out, header)
      for block in table.blocks():
        out.write(block.tobytes())


def _entry(archive, name):
  info = zipfile.ZipInfo(f"{name}.npy")
  return archive.open(info, "w", force_zip64=True)


def write_safetensors(path: pathlib.Path, table: FeatureTable) -> None:
  """Writes tensors; names and metadata are the bytes of JSON texts."""
  small = table.small()
  for name, value in (("names", table.names), ("metadata", table.metadata)):
    small[name] = np.frombuffer(json.dumps(value).encode(), np.uint8)
  kinds = {
    "int64": "I64",
    "int32": "I32",
    "float32": "F32",
    "uint8": "U8",
    "bool": "BOOL",
  }
  # Wide numbers first, so that none begins at an odd place.
  order = sorted(small, key=lambda k: -small[k].dtype.itemsize)
  order.insert(order.index("names"), "features")
  header, end = {}, 0
  for name in order:
    array = table.rows if name == "features" else small[name]
    start, end = end, end + array.size * array.dtype.itemsize
    header[name] = {
      "dtype": kinds[array.dtype.name],
      "shape": list(array.shape),
      "data_offsets": [start, end],
    }
  text = json.dumps(header).encode()
  text += b" " * (-len(text) % 8)
  with path.open("wb") as file:
    file.write(len(text).to_bytes(8, "little") + text)
    for name in order:
      blocks = table.blocks() if name == "features" else [small[name]]
      for block in blocks:
        file.write(block.tobytes())


def write_array_record(path: pathlib.Path, table: FeatureTable) -> None:
  """Writes a record for each example: an .npz of features, name, label.

  `write` puts the metadata beside it.
  """
  writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
  for i, name in enumerate(table.names):
    arrays = {"features": table.example(i), "name": np.array(name)}
    if table.labels is not None:
      arrays["label"] = table.labels[i]
    buffer = io.BytesIO()
    _npz(buffer, arrays)
    writer.write(buffer.getvalue())
  writer.close()


FORMATS = {
  "npz": write_npz,
  "safetensors": write_safetensors,
  "array_record": write_array_record,
  "parquet": write_parquet,
}


def write(
  table: FeatureTable, output: Destination, temporary: pathlib.Path
) -> None:
  """Writes a file, which is there only when it is whole.

  Args:
    table: what to write.
    output: the file, of one of FORMATS; one that exists is replaced.
    temporary: in the folder of parts, where it is until then.
  """
  FORMATS[output.kind](temporary, table)
  if output.kind == "array_record":
    output.beside(".json", json.dumps(table.metadata, indent=2) + "\n")
  output.put(temporary)
