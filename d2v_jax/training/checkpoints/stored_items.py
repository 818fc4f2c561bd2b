"""What one checkpoint holds, for those who do not train: probes, exports."""

from collections.abc import Callable
from typing import TypeVar

from etils import epath

from d2v_jax.training.checkpoints import checkpoint_files as files
from d2v_jax.training.checkpoints import checkpoint_leaves as leaves_lib
from d2v_jax.training.checkpoints.checkpoint_leaves import (
  CheckpointMismatch,
  PyTree,
)
from d2v_jax.training.workdir.together import together

T = TypeVar("T")


def load_item(
  directory: epath.PathLike,
  item: str,
  abstract: PyTree | None = None,
  *,
  step: int | None = None,
  ignore: tuple[str, ...] = (),
) -> tuple[int, PyTree]:
  """Reads one item of the newest valid checkpoint; changes nothing on disk.

  Args:
    directory: where a `Checkpoints` wrote; every process must read it.
    item: its name, e.g. `params`.
    abstract: tree of `jax.ShapeDtypeStruct` with shardings; None: dicts and
      lists as stored, on the first local device.
    step: which checkpoint; None: the newest in which the item is sound.
    ignore: top-level sub-trees of the item that are neither read nor compared
      with `abstract`, which must not have them, whether they are there or not.

  Returns:
    The step and the item.

  Raises:
    CheckpointMismatch: no such item, or its tree differs from `abstract`.
    NoValidCheckpoint: all are damaged.
    ValueError: there is no checkpoint, or as for `Checkpoints.restore`.
  """
  if abstract is not None:
    leaves_lib.require_shardings({item: abstract})

  def read(path: epath.Path) -> PyTree:
    stored = together(lambda: files.read_content(path))["leaves"]
    lines = {k: v for k, v in stored.items() if k.split("/")[0] == item}
    if not lines:
      raise CheckpointMismatch(
        f"checkpoint {path} has no item {item!r}; choose one of: "
        f"{', '.join(sorted({name.split('/')[0] for name in stored}))}."
      )
    if abstract is not None:
      lines = {
        name: line
        for name, line in lines.items()
        if not any(f"{name}/".startswith(f"{item}/{x}/") for x in ignore)
      }
      leaves_lib.require_lines_match(path, lines, {item: abstract})
    elif lines == {item: leaves_lib.EMPTY}:
      return {}
    return files.read_items(path, lines, {item: abstract})[item]

  return _newest(directory, read, step)


def describe(
  directory: epath.PathLike, *, step: int | None = None
) -> tuple[int, dict[str, PyTree]]:
  """What the newest checkpoint that can be read holds; reads no array.

  Args:
    directory: as for `load_item`.
    step: which checkpoint; None: the newest.

  Returns:
    The step, and item name -> tree of `jax.ShapeDtypeStruct`; {} if empty.

  Raises:
    NoValidCheckpoint, ValueError: as for `load_item`.
  """

  def read(path: epath.Path) -> dict[str, PyTree]:
    content = together(lambda: files.read_content(path))
    return leaves_lib.shapes(content["leaves"])

  return _newest(directory, read, step)


def _newest(
  directory: epath.PathLike,
  read: Callable[[epath.Path], T],
  step: int | None,
) -> tuple[int, T]:
  newest = files.newest_valid(files.absolute(directory), read, [], step)
  if newest is None:
    raise ValueError(
      f"no checkpoint in {directory}; give the folder whose subfolders are "
      "named by step."
    )
  return newest
