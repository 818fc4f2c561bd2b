"""Reads a checkpoint from disk, and finds the newest that can be read."""

import json
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from jax.sharding import SingleDeviceSharding

from d2v_jax import storage
from d2v_jax.training.checkpoints.checkpoint_leaves import PyTree, descriptions
from d2v_jax.training.workdir.together import Failed, from_process_0, together

T = TypeVar("T")

# The item that tells what the others must be.
LOOP = "loop"


class NoValidCheckpoint(ValueError):
  """There are checkpoints, and every one of them is damaged."""


def newest_valid(
  directory: epath.Path,
  read: Callable[[epath.Path], T],
  damaged: list[tuple[str, str]],
  step: int | None = None,
) -> tuple[int, T] | None:
  """Reads the newest checkpoint that can be read.

  Args:
    directory: whose subfolders are named by step.
    read: reads the checkpoint of a folder, raises Failed if it is damaged.
    damaged: (path, reason) of those that are damaged are added to it.
    step: the only one that is tried; None: all, from the newest on.

  Returns:
    The step and what `read` gave; None if there is no checkpoint.

  Raises:
    NoValidCheckpoint: all are damaged.
    ValueError: there is no checkpoint of this step.
  """
  steps = steps_on_disk(directory)
  if step is not None:
    if step not in steps:
      raise ValueError(
        f"no checkpoint of step {step} in {directory}; there are: "
        f"{', '.join(map(str, reversed(steps))) or 'none'}."
      )
    steps = [step]
  failed = []
  # A process may list a save that another did not see yet: 0 decides.
  for n in range(from_process_0(len(steps))):
    step = from_process_0(steps[n] if n < len(steps) else 0)
    path = directory / str(step)
    try:
      return step, read(path)
    except Failed as error:
      logging.warning("checkpoint %s is damaged: %s", path, error)
      failed.append((str(path), str(error)))
      damaged.append(failed[-1])
  if not failed:
    return None
  raise NoValidCheckpoint(
    "no checkpoint can be used, all are damaged:\n"
    + "".join(f"  {path}: {reason}\n" for path, reason in failed)
    + "Nothing was moved or deleted. If storage was out of reach, start "
    "again; else restore one from a backup, or use another workdir."
  )


def absolute(directory: epath.PathLike) -> epath.Path:
  """A folder by a path that holds wherever the process goes."""
  path = epath.Path(directory)
  # A bucket's name is no folder under the current one.
  return path if storage.in_bucket(path) else path.resolve()


def steps_on_disk(directory: epath.Path) -> list[int]:
  """Steps of the checkpoints in a folder, newest first."""
  if not directory.exists():
    return []
  folders = ocp.path.step.standard_name_format().find_all(directory)
  return sorted((x.step for x in folders), reverse=True)


def seal(content: dict[str, Any]) -> dict[str, Any]:
  """The item LOOP: what it says, and a checksum of that."""
  return {"crc32": _crc32(content), "content": content}


def read_content(path: epath.Path) -> dict[str, Any]:
  """What the item LOOP of the checkpoint in a folder says.

  Raises:
    ValueError: it is missing or damaged.
  """
  if not (path / LOOP).exists():
    raise ValueError(f"its item {LOOP!r} is missing")
  sealed = ocp.JsonCheckpointHandler().restore(path / LOOP)
  if sealed["crc32"] != _crc32(sealed["content"]):
    raise ValueError(f"the crc32 of its item {LOOP!r} is wrong")
  return sealed["content"]


def read_items(
  path: epath.Path, lines: dict[str, str], targets: dict[str, PyTree]
) -> dict[str, PyTree]:
  """Reads items and compares them with what was saved.

  Args:
    path: folder of the checkpoint.
    lines: what the checkpoint says of their leaves.
    targets: item -> tree of `jax.ShapeDtypeStruct` with shardings; None: as
      stored, on the first local device.

  Raises:
    Failed: an item cannot be read, or is not what was saved.
  """
  with jax.transfer_guard("allow"):
    items = together(
      lambda: {name: _read_item(path / name, x) for name, x in targets.items()}
    )
    read = together(lambda: descriptions(items))

  def compare() -> None:
    for name in sorted(lines.keys() | read.keys()):
      was, now = lines.get(name, "absent"), read.get(name, "absent")
      if was != now:
        raise ValueError(f"{name} was saved as {was}, reads as {now}")

  together(compare)
  return items


def _read_item(path: epath.Path, target: PyTree | None) -> PyTree:
  if target is not None and not jax.tree.leaves(target):
    return target
  if not path.exists():
    raise ValueError(f"its item {path.name!r} is missing")
  # Not by Orbax's Checkpointer: that one waits for all processes in the end,
  # for ever if one of them could not read.
  handler = ocp.PyTreeCheckpointHandler()
  try:
    if target is None:
      device = SingleDeviceSharding(jax.local_devices()[0])
      target = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device),
        handler.metadata(path).tree,
      )
    arguments = ocp.checkpoint_utils.construct_restore_args(target)
    # Partial, as sub-trees may be left out on purpose; whether these are the
    # right ones has been found out by comparing descriptions.
    return handler.restore(
      path,
      args=ocp.args.PyTreeRestore(target, arguments, partial_restore=True),
    )
  finally:
    handler.close()


def _crc32(content: dict[str, Any]) -> str:
  text = json.dumps(content, sort_keys=True, separators=(",", ":"))
  return f"{zlib.crc32(text.encode()):08x}"
