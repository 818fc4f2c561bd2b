"""Checkpoints: saved by Orbax, checked leaf by leaf when read.

A checkpoint of step 7 is the folder `<directory>/7` with one Orbax item per
part of the state (`params`, `teacher_params`, `opt_state`), so that a probe
reads only the part it needs, and the JSON item `loop`. That one holds, next
to what the loop wants to remember, the shape, dtype and fingerprint of every
array: Orbax keeps no checksum of values, so a flipped bit would come back as
a wrong weight. `checkpoint_files.read_items` reads and compares them, with
lines that `checkpoint_leaves` makes of the arrays. No module but this one and
`checkpoint_files` calls Orbax.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from orbax.checkpoint import checkpoint_managers as policies

from d2v_jax import storage
from d2v_jax.training.checkpoints import checkpoint_files as files
from d2v_jax.training.checkpoints import checkpoint_leaves as leaves_lib
from d2v_jax.training.checkpoints import outages
from d2v_jax.training.checkpoints.checkpoint_files import LOOP
from d2v_jax.training.checkpoints.checkpoint_leaves import PyTree
from d2v_jax.training.workdir.together import Failed, together

Loop = dict[str, Any]

# Beside the folder of the checkpoints: what was moved out of it.
DAMAGED, REWOUND = "damaged", "rewound"


class SaveFailed(RuntimeError):
  """A checkpoint could not be saved; those before it are as they were."""


class _Manager(ocp.CheckpointManager):
  def reached_preemption(self, step: int) -> bool:
    # Orbax would ask JAX, also from its background thread about a step long
    # past. JAX takes the number for the loop's progress, and hosts that are to
    # stop may then agree on a step that all of them have behind them.
    return False


class _Protected(policies.PreservationPolicy):
  """Keeps some checkpoints, whatever the others say."""

  def __init__(self) -> None:
    self.steps: set[int] = set()

  def should_preserve(
    self, checkpoints: Sequence[Any], *, context: Any
  ) -> list[bool]:
    return [checkpoint.step in self.steps for checkpoint in checkpoints]


def check_counts(keep_latest: int = 1, keep_every: int | None = None) -> None:
  """Raises ValueError unless these can be arguments of `Checkpoints`."""
  for name, count in (("keep_latest", keep_latest), ("keep_every", keep_every)):
    if count is not None and count < 1:
      raise ValueError(f"Checkpoints: {name} must be >= 1, got {count}.")


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
  ) -> None:
    check_counts(keep_latest, keep_every)
    self.directory = files.absolute(directory)
    self.damaged: list[tuple[str, str]] = []
    self._unsure: int | None = None  # the step that may be being saved
    trial = self.directory / f".writable-{jax.process_index()}"
    try:
      self.directory.mkdir(parents=True, exist_ok=True)
      trial.write_text("")
      trial.unlink()
    except OSError as error:
      if outages.is_outage(error):
        raise
      raise ValueError(
        f"cannot write checkpoints to {self.directory}: {error}; use another "
        "workdir."
      ) from error
    self._protected = _Protected()
    keep = [policies.LatestN(keep_latest), self._protected]
    if keep_every is not None:
      keep.append(policies.EveryNSteps(keep_every))
    self._manager = _Manager(
      self.directory,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(keep),
        cleanup_tmp_directories=True,  # what a killed save left behind
      ),
    )

  def save(self, step: int, items: dict[str, PyTree], loop: Loop) -> None:
    """Starts saving; the arrays may be donated as soon as this returns.

    Args:
      step: number of updates done; the name of the checkpoint.
      items: name -> tree of device arrays; {} is allowed.
      loop: what the loop remembers; anything JSON can hold.

    Raises:
      SaveFailed: the disk is full, or gone.
      ValueError: the step exists, or a leaf or `loop` cannot be saved.
    """
    if step in self.steps():
      raise ValueError(
        f"checkpoint of step {step} exists in {self.directory} and is never "
        "overwritten; resume from it, or use another workdir."
      )
    if LOOP in items:
      raise ValueError(f"the item name {LOOP!r} is taken; rename the item.")
    leaves_lib.require_saveable(items)
    try:
      loop = json.loads(json.dumps(loop))
    except (TypeError, ValueError) as error:
      raise ValueError(
        f"Checkpoints.save: loop must hold only what JSON can: {error}."
      ) from error
    self.wait()
    # The train loop forbids accidental transfers; these are meant.
    with self._saving(step), jax.transfer_guard("allow"):
      lines = leaves_lib.descriptions(items)
      sealed = files.seal({LOOP: loop, "leaves": lines})
      arrays = {
        name: ocp.args.StandardSave(tree)
        for name, tree in items.items()
        if jax.tree.leaves(tree)  # Orbax refuses a tree without arrays
      }
      self._manager.save(
        step,
        args=ocp.args.Composite(**{LOOP: ocp.args.JsonSave(sealed)}, **arrays),
        force=True,  # when to save is the caller's decision
      )

  def restore(
    self,
    abstract_items: dict[str, PyTree],
    *,
    check: Callable[[Loop], None] = lambda loop: None,
    rewind: int | None = None,
  ) -> tuple[int, dict[str, PyTree], Loop] | None:
    """Reads the newest valid checkpoint, or goes back to one.

    Damaged ones that are newer are named in the log and in `damaged`, and
    moved to `<directory>/../damaged`, so that their steps can be saved again.
    That waits until an older one has been read: when storage is out of reach
    for a while, everything stays where it is.

    Args:
      abstract_items: as for `save`, of `jax.ShapeDtypeStruct` with shardings.
      check: called with `loop` before arrays are read; raises
        CheckpointMismatch to refuse another run's checkpoint.
      rewind: step of the one to read; those after it are moved to
        `<directory>/../rewound`. None: the newest.

    Returns:
      The step, the items and `loop`; None if there is no checkpoint.

    Raises:
      CheckpointMismatch: the trees differ, or `check` said so.
      NoValidCheckpoint: all are damaged.
      ValueError: a target has no sharding, or one that does not divide it.
    """
    leaves_lib.require_shardings(abstract_items)

    def read(path: epath.Path) -> tuple[dict[str, PyTree], Loop]:
      content = together(lambda: files.read_content(path))
      loop, lines = content[LOOP], content["leaves"]
      check(loop)
      leaves_lib.require_lines_match(path, lines, abstract_items)
      return files.read_items(path, lines, abstract_items), loop

    self.wait()
    newest = files.newest_valid(self.directory, read, self.damaged, rewind)
    if newest is None:
      return None
    step, (items, loop) = newest
    for later in [n for n in self.steps() if n > step]:
      self._move_aside(later, DAMAGED if rewind is None else REWOUND)
    self._manager.reload()
    return step, items, loop

  def protect(self, healthy: int | None, bad: int | None) -> None:
    """Keeps two checkpoints for as long as no others are named.

    Args:
      healthy: step of one of them; None: of none.
      bad: a step from before which the newest one is kept, to repeat it.
    """
    before = [] if bad is None else [n for n in self.steps() if n < bad]
    kept = (healthy, max(before, default=None))
    self._protected.steps = {step for step in kept if step is not None}

  def steps(self) -> list[int]:
    """Lists the steps that have a checkpoint, damaged or not, ascending."""
    return sorted(self._manager.all_steps())

  def check(self) -> None:
    """Raises SaveFailed if what `save` started has failed; does not wait."""
    if self._unsure and not self._manager.is_saving_in_progress():
      self.wait()

  def wait(self) -> None:
    """Waits until what `save` started is on disk.

    Raises:
      SaveFailed: it could not be written.
    """
    if self._unsure is not None:
      with self._saving(self._unsure):
        self._manager.wait_until_finished()
      self._unsure = None

  def newest(self) -> tuple[int, Loop] | None:
    """Step of the newest checkpoint that can be read, and its `loop`."""
    return files.newest_valid(
      self.directory,
      lambda path: together(lambda: files.read_content(path))[LOOP],
      [],
    )

  def close(self) -> None:
    """Waits for saves and lets go of threads; call it last."""
    try:
      self.wait()
    finally:
      self._manager.close()

  @contextlib.contextmanager
  def _saving(self, step: int) -> Iterator[None]:
    """Turns whatever Orbax and storage raise into SaveFailed."""
    self._unsure = step
    try:
      yield
    except Exception as error:  # each kind of storage has its own classes
      self._unsure = None
      lines = str(error).strip().splitlines() or ["no message"]
      raise SaveFailed(
        f"the checkpoint of step {step} could not be saved: "
        f"{type(error).__name__}: {_shortened(lines[0])}"
      ) from error

  def _move_aside(self, step: int, name: str) -> None:
    source = self.directory / str(step)
    folder = self.directory.parent / name

    def move() -> None:
      if jax.process_index() != 0:
        return
      folder.mkdir(parents=True, exist_ok=True)
      if storage.in_bucket(folder):
        # In a bucket there is no folder in which there is nothing, and nothing
        # can be moved there.
        (folder / ".folder").write_text("")
      target, n = folder / str(step), 0
      while target.exists():
        n += 1
        target = folder / f"{step}-{n}"
      source.rename(target)
      logging.warning("checkpoint %s moved to %s", source, target)

    try:
      together(move)
    except Failed as error:
      raise ValueError(
        f"cannot move the checkpoint {source} to {folder}: {error}; "
        "move it by hand and start again."
      ) from error


def _shortened(text: str) -> str:
  """The beginning and the end of a line: Orbax names paths in between."""
  return text if len(text) <= 300 else f"{text[:100]} ... {text[-150:]}"
