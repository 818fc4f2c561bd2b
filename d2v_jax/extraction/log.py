"""Features that are computed so far, kept until all are.

A log is a folder with request.json (what is computed), features.f32 (vectors in
the order of computing) and index.jsonl (whose they are, a line a batch).
"""

import fcntl
import json
import math
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

from d2v_jax import config as config_lib
from d2v_jax.extraction.feature_table import FLOAT, FeatureTable


class Log:
  """Features that are computed so far; what is in it survives a kill.

  Args:
    folder: of the log; made if it is not there.
    request: what is computed, JSON; a log of another request is not continued.
    restart: throw such a log away.

  Attributes:
    done: numbers of the examples that are in it.

  Raises:
    ValueError: the folder cannot be written, another process is writing it, or
      it holds another request.
  """

  def __init__(
    self, folder: pathlib.Path, request: Mapping[str, Any], restart: bool
  ):
    self._folder = folder
    self._entries: list[dict[str, Any]] = []
    folder.mkdir(parents=True, exist_ok=True)
    self._index = (folder / "index.jsonl").open("ab+")
    self._data = (folder / "features.f32").open("ab+")
    try:
      fcntl.flock(self._index, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
      self._close()
      raise ValueError(
        f"another process is writing {folder}; wait for it, or choose another "
        "output."
      ) from e
    try:
      self._open(json.loads(json.dumps(request)), restart)
    except Exception:
      self._close()
      raise

  def __enter__(self) -> "Log":
    return self

  def __exit__(self, *_: object) -> None:
    self._close()
    if not self._entries:
      self.remove()

  @property
  def done(self) -> set[int]:
    """Numbers of the examples that are in it."""
    return {i for entry in self._entries for i in entry["examples"]}

  def append(
    self,
    examples: list[int],
    values: np.ndarray,
    sizes: list[int] | None,
    labels: list[int] | list[float] | list[list[bool]] | None,
  ) -> None:
    """Adds a batch.

    Args:
      examples: numbers of m examples.
      values: float32 [m, ...], or with sizes the rows of all one after another.
      sizes: rows of each; None: one each, which is the example's only vector.
      labels: of each; None: unlabelled.
    """
    # The line comes last: what it speaks of is there.
    self._data.write(np.ascontiguousarray(values, FLOAT).tobytes())
    self._data.flush()
    os.fsync(self._data.fileno())
    entry = {
      "examples": examples,
      "shape": list(values.shape),
      "sizes": sizes,
      "labels": labels,
    }
    self._index.write(json.dumps(entry).encode() + b"\n")
    self._index.flush()
    self._entries.append(entry)

  def table(
    self, name: Callable[[int], str], metadata: Mapping[str, Any]
  ) -> FeatureTable:
    """Returns all that is in it, in the order of the examples' numbers.

    Args:
      name: example's number -> its name.
      metadata: JSON.
    """
    entries = self._entries
    numbers = np.array([i for e in entries for i in e["examples"]], np.int64)
    order = np.argsort(numbers)
    several = entries[0]["sizes"] is not None
    parts = [e["sizes"] or [1] * len(e["examples"]) for e in entries]
    sizes = np.array([n for part in parts for n in part], np.int64)
    starts = np.cumsum(sizes) - sizes
    labels: np.ndarray | None = None
    if entries[0]["labels"] is not None:
      labels = np.array([x for e in entries for x in e["labels"]])[order]
      kinds = {"i": np.int32, "f": np.float32}
      labels = labels.astype(kinds.get(labels.dtype.kind, labels.dtype))
    shape = (int(sizes.sum()), *entries[0]["shape"][1:])
    return FeatureTable(
      np.memmap(self._folder / "features.f32", FLOAT, "r", shape=shape),
      starts[order],
      sizes[order] if several else None,
      [name(int(i)) for i in numbers[order]],
      labels,
      metadata,
    )

  def unfinished(self) -> pathlib.Path:
    """Returns where a file can be written that will be moved to its place."""
    return self._folder / "output"

  def remove(self) -> None:
    """Removes the folder."""
    self._close()
    shutil.rmtree(self._folder, ignore_errors=True)

  def _close(self):
    self._data.close()
    self._index.close()

  def _open(self, request, restart):
    path = self._folder / "request.json"
    self._entries, end, size = _entries(self._index, self._data)
    # A request that was never begun binds nobody.
    if self._entries:
      old = json.loads(path.read_text())
      changes = config_lib.differences(old, request, ())
      if changes and not restart:
        raise ValueError(
          f"{self._folder} holds a part of something else "
          f"({'; '.join(changes)}); ask for the same again, remove it, or add "
          "--overwrite to start anew."
        )
      if changes:
        self._entries, end, size = [], 0, 0
    self._index.truncate(end)
    self._data.truncate(size)
    temporary = path.with_name("request.json.unfinished")
    temporary.write_text(json.dumps(request, indent=2) + "\n")
    temporary.replace(path)


def _entries(index: BinaryIO, data: BinaryIO):
  """Whole lines whose features are there, and where both files then end."""
  available = data.seek(0, os.SEEK_END)
  index.seek(0)
  found, end, size = [], 0, 0
  for line in index:
    try:
      entry = json.loads(line)
    except json.JSONDecodeError:
      break
    needed = math.prod(entry["shape"]) * FLOAT.itemsize
    if not line.endswith(b"\n") or size + needed > available:
      break
    found.append(entry)
    end, size = end + len(line), size + needed
  return found, end, size
