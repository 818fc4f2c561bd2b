"""What a checkpoint remembers of its run, and who may go on from it."""

import json
from typing import Any

import jax

from d2v_jax import config as config_lib
from d2v_jax.training.checkpoints.checkpoint import Checkpoints
from d2v_jax.training.checkpoints.checkpoint_leaves import CheckpointMismatch
from d2v_jax.training.experiment import Experiment
from d2v_jax.training.start import Start
from d2v_jax.training.state import TrainState
from d2v_jax.training.trouble import gradient_norms

# What may change between a run and its continuation: nothing that the numbers
# depend on.
RESUMABLE = (
  "log_every",
  "checkpoint_every",
  "checkpoints",
  "evaluation",
  "health",
  "init_from",
  "logger",
  "num_devices",
  "profile",
  "report",
  "sharding",
  "encoder.attention",
  "encoder.remat",
  "data.keep_aspect",
  "data.resampling",
  "data.resize_ratio",
  "data.source.path",
  "data.source.data_dir",
  "data.source.sources.*.path",
  "data.source.sources.*.data_dir",
  "data.num_threads",
  "data.num_workers",
  "data.max_corrupt",
)

Loop = dict[str, Any]


def remembered(
  run: Experiment,
  health: dict[str, Any],
  rewound_to: int | None,
  state: TrainState,
) -> Loop:
  """What is saved beside the large arrays.

  Args:
    run: that is saved.
    health: state of its monitor.
    rewound_to: the step that it was taken back to, if it was.
    state: of the run.
  """
  with jax.transfer_guard("allow"):  # two numbers
    norms = gradient_norms.as_json(state.gradient_norms)
  return {
    "config": as_json(run.config),
    "num_examples": run.num_examples,
    "identity": run.identity,
    "health": health,
    "rewound_to": rewound_to,
    "gradient_norms": norms,
  }


def check(run: Experiment, start: Start, loop: Loop) -> None:
  """Raises CheckpointMismatch if a run must not go on from a checkpoint.

  Args:
    run: that would go on.
    start: what the user allows.
    loop: what the checkpoint remembers.
  """
  lines = [] if start.rewind is not None else config_changes(run, loop)
  if lines:
    raise CheckpointMismatch(
      "the workdir holds a run of another config, which cannot be continued "
      "with this one:\n  " + "\n  ".join(lines) + "\nUse the old values, or "
      "another --workdir; --config.init_from=OLD_WORKDIR starts a new run from "
      "the old one's weights, and --rewind=STEP goes back to a checkpoint of "
      "this one and on from there with the new values."
    )
  lines = data_changes(run, loop)
  if lines and not start.changed_data:
    raise CheckpointMismatch(
      "the run was trained on other data than there are now:\n  "
      + "\n  ".join(lines)
      + "\nBring the old ones back, or use another --workdir; --changed_data "
      "goes on with what is there now, in a new order."
    )


def config_changes(run: Experiment, loop: Loop) -> list[str]:
  """Lines 'field: old -> new' of what must not change on the way."""
  return config_lib.differences(loop["config"], as_json(run.config), RESUMABLE)


def data_changes(run: Experiment, loop: Loop) -> list[str]:
  """Lines of what tells that the data are not those of the checkpoint."""
  old, new = (
    {"number of training examples": number, **identity}
    for number, identity in (
      (loop["num_examples"], loop["identity"]),
      (run.num_examples, run.identity),
    )
  )
  return config_lib.differences(old, new, ())


def rewind(
  run: Experiment, checkpoints: Checkpoints, start: Start
) -> int | None:
  """The step to go back to; None: nobody asks, or it was done already.

  A scheduler repeats the command, which must not throw away what it has gained.

  Args:
    run: that would go back.
    checkpoints: of the run.
    start: what the user asks for.
  """
  if start.rewind is None:
    return None
  newest = checkpoints.newest()
  if newest is not None:
    step, loop = newest
    done = step > start.rewind and loop.get("rewound_to") == start.rewind
    if done and not config_changes(run, loop):
      return None
  return start.rewind


def notes(run: Experiment, loop: Loop, rewound: int | None) -> dict[str, Any]:
  """What is not as it was when a checkpoint was saved, for run.json.

  Args:
    run: that goes on.
    loop: what the checkpoint remembers.
    rewound: step that the run went back to.
  """
  found: dict[str, Any] = {}
  if rewound is not None:
    found["went back to step"] = rewound
    found["changed fields"] = config_changes(run, loop)
  if changed := data_changes(run, loop):
    found["changed data"] = changed
  return found


def as_json(config: Any) -> Any:
  """A config as it comes back from a file."""
  return json.loads(json.dumps(config))
