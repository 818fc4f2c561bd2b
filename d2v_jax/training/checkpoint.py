"""Checkpoints: saved by Orbax, checked leaf by leaf when read.

A checkpoint of step 7 is the folder `<directory>/7` with one Orbax item per
part of the state (`params`, `teacher_params`, `opt_state`), so that a probe
reads only the part it needs, and the JSON item `loop`. That one holds, next
to what the loop wants to remember, the shape, dtype and fingerprint of every
array: Orbax keeps no checksum of values, so a flipped bit would come back as
a wrong weight. Nothing outside this module calls Orbax.
"""

import gc
import inspect
import json
import sys
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from jax.experimental import multihost_utils
from jax.sharding import SingleDeviceSharding
from orbax.checkpoint import checkpoint_managers as policies

from d2v_jax.training import fingerprint

PyTree = Any
T = TypeVar("T")

_LOOP = "loop"
_EMPTY = "empty"


class CheckpointMismatch(ValueError):
  """The checkpoint is sound, but of another run: no older one is tried."""


class NoValidCheckpoint(ValueError):
  """There are checkpoints, and every one of them is damaged."""


class _Damaged(Exception):
  """This checkpoint cannot be used; an older one may."""


class _Manager(ocp.CheckpointManager):
  def reached_preemption(self, step: int) -> bool:
    # Orbax would ask JAX, also from its background thread about a step long
    # past. JAX takes the number for the loop's progress, and hosts that are to
    # stop may then agree on a step that all of them have behind them.
    return False


class Checkpoints:
  """The checkpoints of one run: saved in the background, newest valid read.

  Every process of a run makes one and calls each method.

  Args:
    directory: where they live, a local path or `gs://`; made if missing.
    keep_latest: how many of the newest are kept.
    keep_every: steps divisible by it are kept for good; None: none are.

  Attributes:
    damaged: (path, reason) of what `restore` found damaged.

  Raises:
    ValueError: the directory cannot be written, or a count is below 1.
  """

  def __init__(
    self,
    directory: epath.PathLike,
    *,
    keep_latest: int = 2,
    keep_every: int | None = None,
  ):
    counts = {"keep_latest": keep_latest, "keep_every": keep_every}
    for name, count in counts.items():
      if count is not None and count < 1:
        raise ValueError(f"Checkpoints: {name} must be >= 1, got {count}.")
    self.directory = epath.Path(directory).resolve()
    self.damaged: list[tuple[str, str]] = []
    trial = self.directory / f".writable-{jax.process_index()}"
    try:
      self.directory.mkdir(parents=True, exist_ok=True)
      trial.write_text("")
      trial.unlink()
    except OSError as error:
      raise ValueError(
        f"cannot write checkpoints to {self.directory}: {error}; use another "
        "workdir."
      ) from error
    keep = [policies.LatestN(keep_latest)]
    if keep_every is not None:
      keep.append(policies.EveryNSteps(keep_every))
    self._manager = _Manager(
      self.directory,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(keep),
        cleanup_tmp_directories=True,  # what a killed save left behind
      ),
    )

  def save(self, step: int, items: dict[str, PyTree], loop: dict) -> None:
    """Starts saving; the arrays may be donated as soon as this returns.

    Args:
      step: number of updates done; the name of the checkpoint.
      items: name -> tree of device arrays; {} is allowed.
      loop: what the loop remembers; anything JSON can hold.

    Raises:
      ValueError: the step exists, or a leaf or `loop` cannot be saved.
    """
    if step in self.steps():
      raise ValueError(
        f"checkpoint of step {step} exists in {self.directory} and is never "
        "overwritten; resume from it, or use another workdir."
      )
    _require_saveable(items)
    try:
      loop = json.loads(json.dumps(loop))
    except (TypeError, ValueError) as error:
      raise ValueError(
        f"Checkpoints.save: loop must hold only what JSON can: {error}."
      ) from error
    # The train loop forbids accidental transfers; these are meant.
    with jax.transfer_guard("allow"):
      content = {_LOOP: loop, "leaves": _describe(items)}
      sealed = {"crc32": _crc32(content), "content": content}
      arrays = {
        name: ocp.args.StandardSave(tree)
        for name, tree in items.items()
        if jax.tree.leaves(tree)  # Orbax refuses a tree without arrays
      }
      self._manager.save(
        step,
        args=ocp.args.Composite(**{_LOOP: ocp.args.JsonSave(sealed)}, **arrays),
        force=True,  # when to save is the caller's decision
      )

  def restore(
    self,
    abstract_items: dict[str, PyTree],
    *,
    check: Callable[[dict], None] = lambda loop: None,
  ) -> tuple[int, dict[str, PyTree], dict] | None:
    """Reads the newest valid checkpoint.

    Damaged ones that are newer are named in the log and in `damaged`, and
    moved to `<directory>/../damaged`, so that their steps can be saved again.
    That waits until an older one has been read: when storage is out of reach
    for a while, everything stays where it is.

    Args:
      abstract_items: as for `save`, of `jax.ShapeDtypeStruct` with shardings.
      check: called with `loop` before arrays are read; raises
        CheckpointMismatch to refuse another run's checkpoint.

    Returns:
      The step, the items and `loop`; None if there is no checkpoint.

    Raises:
      CheckpointMismatch: the trees differ, or `check` said so.
      NoValidCheckpoint: all are damaged.
      ValueError: a target has no sharding, or one that does not divide it.
    """
    _require_shardings(abstract_items)

    def read(path):
      content = _together(lambda: _read_content(path))
      check(content[_LOOP])
      _require_match(path, content["leaves"], abstract_items)
      items = _read_items(path, content["leaves"], abstract_items)
      return items, content[_LOOP]

    self.wait()
    newest = _newest_valid(self.directory, read, self.damaged)
    if newest is None:
      return None
    step, (items, loop) = newest
    for later in [n for n in self.steps() if n > step]:
      self._move_aside(later)
    self._manager.reload()
    return step, items, loop

  def steps(self) -> list[int]:
    """Lists the steps that have a checkpoint, damaged or not, ascending."""
    return sorted(self._manager.all_steps())

  def wait(self) -> None:
    """Waits until what `save` started is on disk."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits for saves and lets go of threads; call it last."""
    self._manager.close()

  def _move_aside(self, step: int) -> None:
    source, folder = (
      self.directory / str(step),
      self.directory.parent / "damaged",
    )

    def move():
      if jax.process_index() != 0:
        return
      folder.mkdir(parents=True, exist_ok=True)
      target, n = folder / str(step), 0
      while target.exists():
        n += 1
        target = folder / f"{step}-{n}"
      source.rename(target)
      logging.warning("checkpoint %s moved to %s", source, target)

    try:
      _together(move)
    except _Damaged as error:
      raise ValueError(
        f"cannot move the damaged checkpoint {source} to {folder}: {error}; "
        "move it by hand and start again."
      ) from error


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
    _require_shardings({item: abstract})

  def read(path):
    stored = _together(lambda: _read_content(path))["leaves"]
    leaves = {k: v for k, v in stored.items() if k.split("/")[0] == item}
    if not leaves:
      raise CheckpointMismatch(
        f"checkpoint {path} has no item {item!r}; choose one of: "
        f"{', '.join(sorted({name.split('/')[0] for name in stored}))}."
      )
    if abstract is not None:
      leaves = {
        name: kind
        for name, kind in leaves.items()
        if not any(f"{name}/".startswith(f"{item}/{x}/") for x in ignore)
      }
      _require_match(path, leaves, {item: abstract})
    elif leaves == {item: _EMPTY}:
      return {}
    return _read_items(path, leaves, {item: abstract})[item]

  newest = _newest_valid(epath.Path(directory).resolve(), read, [], step)
  if newest is None:
    raise _no_checkpoint(directory)
  return newest


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

  def read(path):
    leaves = _together(lambda: _read_content(path))["leaves"]
    items = {}
    for name, text in leaves.items():
      *parents, leaf = name.split("/")
      kind = text.split(" ")[0]
      if kind == _EMPTY:
        parents, leaf = name.split("/"), None
      node = items
      for parent in parents:
        node = node.setdefault(parent, {})
      if leaf is not None:
        dtype, shape = kind.rstrip("]").split("[")
        shape = tuple(map(int, filter(None, shape.split(","))))
        node[leaf] = jax.ShapeDtypeStruct(shape, dtype)
    return items

  newest = _newest_valid(epath.Path(directory).resolve(), read, [], step)
  if newest is None:
    raise _no_checkpoint(directory)
  return newest


def require_match(
  path: epath.PathLike, found: dict[str, PyTree], wanted: dict[str, PyTree]
) -> None:
  """Compares names, shapes and dtypes of items with those that are wanted.

  Raises:
    CheckpointMismatch: names what differs.
  """
  kinds = {name: _kind(leaf) for name, leaf in _by_path(found).items()}
  _require_match(path, kinds, wanted)


def _no_checkpoint(directory):
  return ValueError(
    f"no checkpoint in {directory}; give the folder whose subfolders are named "
    "by step."
  )


def _newest_valid(
  directory: epath.Path,
  read: Callable[[epath.Path], T],
  damaged: list[tuple[str, str]],
  step: int | None = None,
) -> tuple[int, T] | None:
  """Reads the newest checkpoint that can be; adds to `damaged`."""
  steps = _steps_on_disk(directory)
  if step is not None:
    if step not in steps:
      raise ValueError(
        f"no checkpoint of step {step} in {directory}; there are: "
        f"{', '.join(map(str, reversed(steps))) or 'none'}."
      )
    steps = [step]
  failed = []
  # A process may list a save that another did not see yet: 0 decides.
  for n in range(_from_process_0(len(steps))):
    step = _from_process_0(steps[n] if n < len(steps) else 0)
    path = directory / str(step)
    try:
      return step, read(path)
    except _Damaged as error:
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


def _steps_on_disk(directory: epath.Path) -> list[int]:
  if not directory.exists():
    return []
  found = ocp.path.step.standard_name_format().find_all(directory)
  return sorted((x.step for x in found), reverse=True)


def _read_content(path: epath.Path) -> dict:
  if not (path / _LOOP).exists():
    raise ValueError(f"its item {_LOOP!r} is missing")
  sealed = ocp.JsonCheckpointHandler().restore(path / _LOOP)
  if sealed["crc32"] != _crc32(sealed["content"]):
    raise ValueError(f"the crc32 of its item {_LOOP!r} is wrong")
  return sealed["content"]


def _read_items(path, leaves: dict[str, str], targets) -> dict[str, PyTree]:
  """Reads items and compares them with what was saved."""
  with jax.transfer_guard("allow"):
    items = _together(
      lambda: {name: _read_item(path / name, x) for name, x in targets.items()}
    )
    found = _together(lambda: _describe(items))

  def compare():
    for name in sorted(leaves.keys() | found.keys()):
      was, now = leaves.get(name, "absent"), found.get(name, "absent")
      if was != now:
        raise ValueError(f"{name} was saved as {was}, reads as {now}")

  _together(compare)
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
    # Whether all of it is wanted has been looked into by `_require_match`.
    return handler.restore(
      path,
      args=ocp.args.PyTreeRestore(target, arguments, partial_restore=True),
    )
  finally:
    handler.close()


def _together(read: Callable[[], T]) -> T:
  """Runs `read` in every process; if it fails in one, it fails in all."""
  value, failure = _attempt(read)
  if jax.process_count() > 1:
    failed = multihost_utils.process_allgather(np.int32(failure is not None))
    if failed.any() and failure is None:
      failure = f"process {int(failed.argmax())} failed: see its log"
  if failure is not None:
    raise _Damaged(failure)
  return value


def _from_process_0(number: int) -> int:
  if jax.process_count() == 1:
    return number
  return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def _attempt(read: Callable[[], T]) -> tuple[T | None, str | None]:
  """The value and None, or None and what went wrong, in one line."""
  failure, hook = None, sys.unraisablehook

  def quiet(it):
    # Orbax reads an array in many tasks; when one fails it drops the others,
    # and each prints pages about itself when it is collected.
    dropped = inspect.iscoroutine(it.object)
    if not dropped and str(it.exc_value) != "Event loop is closed":
      hook(it)

  sys.unraisablehook = quiet
  try:
    return read(), None
  except Exception as error:  # damage comes back as any class of error
    cause = error.__cause__ or error
    lines = str(cause).strip().splitlines() or ["no message"]
    failure = f"{type(cause).__name__}: {lines[0][:400]}"
    del cause
  finally:
    if failure is not None:
      gc.collect()
    sys.unraisablehook = hook
  return None, failure


def _crc32(content: dict) -> str:
  text = json.dumps(content, sort_keys=True, separators=(",", ":"))
  return f"{zlib.crc32(text.encode()):08x}"


def _describe(items: dict[str, PyTree]) -> dict[str, str]:
  """Path -> `float32[3,4] 0123456789abcdef`, the latter the fingerprint."""
  leaves = _by_path(items)
  found = {name: _kind(leaf) for name, leaf in leaves.items()}
  arrays = [name for name in found if found[name] != _EMPTY]
  table = fingerprint.of([leaves[name] for name in arrays])
  for name, (total, weighted) in zip(arrays, table, strict=True):
    found[name] += f" {total:08x}{weighted:08x}"
  return found


def _by_path(items: dict[str, PyTree]) -> dict[str, Any]:
  """Leaves by path, empty containers among them: Orbax tells them apart."""
  flat, _ = jax.tree_util.tree_flatten_with_path(items, is_leaf=_is_empty)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in flat
  }


def _is_empty(node: Any) -> bool:
  tree = jax.tree.structure(node)
  return tree.num_nodes == 1 and tree.num_leaves == 0


def _kind(leaf: Any) -> str:
  if _is_empty(leaf):
    return _EMPTY
  return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"


def _require_match(path, leaves: dict[str, str], targets) -> None:
  stored = {name: text.split(" ")[0] for name, text in leaves.items()}
  wanted = {name: _kind(leaf) for name, leaf in _by_path(targets).items()}
  differ = [
    f"  {name}: {stored.get(name, 'absent')} in the checkpoint, "
    f"{wanted.get(name, 'absent')} wanted\n"
    for name in sorted(stored.keys() | wanted.keys())
    if stored.get(name) != wanted.get(name)
  ]
  if differ:
    raise CheckpointMismatch(
      f"checkpoint {path} does not fit; leaves that differ: {len(differ)}\n"
      f"{''.join(differ[:8])}"
      "Use the config it was saved with, or another workdir."
    )


def _require_saveable(items: dict[str, PyTree]) -> None:
  if _LOOP in items:
    raise ValueError(f"the item name {_LOOP!r} is taken; rename the item.")
  for name, leaf in _by_path(items).items():
    if _is_empty(leaf):
      continue
    if not isinstance(leaf, jax.Array) or jnp.issubdtype(
      leaf.dtype, jax.dtypes.extended
    ):
      raise ValueError(
        f"Checkpoints.save: {name} is a {type(leaf).__name__}; save "
        "jax.Array of plain numbers (jnp.asarray, jax.random.key_data)."
      )


def _require_shardings(items: dict[str, PyTree]) -> None:
  for name, leaf in _by_path(items).items():
    if _is_empty(leaf):
      continue
    if getattr(leaf, "sharding", None) is None:
      raise ValueError(
        f"{name}: the target to restore into has no sharding; give "
        "jax.ShapeDtypeStruct(shape, dtype, sharding=...)."
      )
    leaf.sharding.shard_shape(leaf.shape)  # raises if it does not divide
