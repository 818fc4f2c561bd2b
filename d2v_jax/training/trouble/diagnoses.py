"""What can be wrong with a run: named, with usual causes and what to do next.

Source: data2vec section 6 for the causes of collapse; thresholds of what is
only told are ours, from our own runs (docs/running.md).
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Diagnosis:
  """One thing that can be wrong.

  Attributes:
    name: what it is called.
    meaning: what it says of the run.
    causes: usual ones.
    action: what to do next.
    stops: whether it ends a run; else it is told, and the run goes on.
  """

  name: str
  meaning: str
  causes: str
  action: str
  stops: bool = False

  def __str__(self) -> str:
    return (
      f"{self.name[0].upper()}{self.name[1:]}: {self.meaning}. Usual causes: "
      f"{self.causes}. Next: {self.action}."
    )


DIAGNOSES = {
  "divergence": Diagnosis(
    "divergence",
    "the run has diverged",
    "a learning rate that is too high, a warm-up that is too short, no "
    "gradient clipping, broken input",
    "try a lower config.schedule.peak, a longer config.schedule.warmup_steps "
    "or config.optimizer.clip_norm=3.0",
    stops=True,
  ),
  "teacher": Diagnosis(
    "collapse of the teacher",
    "the targets are (nearly) the same at all masked positions",
    "a teacher that moves too fast, a learning rate that is too high or a "
    "warm-up that is too short, neighbouring targets that are too alike",
    "try a higher config.objective.ema.start, a lower config.schedule.peak, a "
    "longer config.schedule.warmup_steps, instance norm in "
    "config.objective.targets.layer_norms, or larger masked blocks",
    stops=True,
  ),
  "student": Diagnosis(
    "collapse of the student",
    "it predicts (nearly) the same vector at all masked positions",
    "targets that carry no signal (look at target_std), a learning rate that "
    "is too high or so low that training has not begun",
    "try another config.schedule.peak, a longer config.schedule.warmup_steps "
    "or a lower config.objective.ema.start",
    stops=True,
  ),
  "front_end": Diagnosis(
    "collapse of the front end",
    "the feature encoder makes (nearly) the same vector of all tokens, so that "
    "nothing of the input is left above it",
    "inputs that are all alike, such as black images or silence, a mean and "
    "std of other data in config.encoder, a learning rate that is too high",
    "look at the data (`d2v check`) and at what the network sees (`d2v "
    "report`), then try a lower config.schedule.peak",
    stops=True,
  ),
  "position_only": Diagnosis(
    "position only",
    "what is learned tells where a token is, and nearly nothing of what is "
    "there",
    "a run that is still young, targets that carry the positions "
    "(config.objective.targets.output='block' with fixed ones), examples that "
    "are much alike",
    "go on if the share is falling; else try "
    "config.objective.targets.output='ffn', more updates, a lower "
    "config.objective.ema.start, or crops (config.data.augment)",
  ),
  "not_learning": Diagnosis(
    "not learning yet",
    "predictions are no better than a constant",
    "a warm-up that still goes on, a learning rate that is too low, a mask "
    "that hides too much",
    "wait for the end of the warm-up; then try a higher config.schedule.peak, "
    "or a mask that hides less",
  ),
  "memorising": Diagnosis(
    "memorising",
    "targets of the training examples are predicted better than those of "
    "examples that are held out",
    "more passes over the data than they bear",
    "stop at the checkpoint with the best evaluation; use more data, fewer "
    "updates, more of config.data.augment, or begin with existing weights "
    "(config.init_from)",
  ),
}

# A run of ours that learns well is on the other side of each, with room.
_MOST_OF_POSITION = 0.995
_LEAST_EXPLAINED = 0.05
_MOST_LOST = 0.5


def seen(
  measured: Mapping[str, float], step: int, start_step: int, min_spread: float
) -> dict[str, str]:
  """What of the things above measurements of parts show.

  Args:
    measured: from `Parts`.
    step: completed updates.
    start_step: before it nothing is judged; before twice as many not what is
      usual early in a run.
    min_spread: smallest healthy spread of the feature encoder's tokens.

  Returns:
    Name -> the measurement in words.
  """
  if step < start_step:
    return {}
  found = {}
  # A NaN is on neither side, and ends the run by its loss.
  spread = measured.get("health/spread/features", 1.0)
  if spread < min_spread:
    found["front_end"] = (
      f"the spread of the feature encoder's tokens is {spread:.3g}, below "
      f"{min_spread} (config.health.min_spread)"
    )
  share = measured.get("health/position_share/targets", 0.0)
  if step >= 2 * start_step and share > _MOST_OF_POSITION:
    found["position_only"] = (
      f"position explains {share:.4f} of the variance of the targets, more "
      f"than {_MOST_OF_POSITION}"
    )
  explained = measured.get("health/explained/all", 1.0)
  if explained < _LEAST_EXPLAINED:
    found["not_learning"] = (
      f"predictions explain {explained:.3f} of the variance of the targets, "
      f"less than {_LEAST_EXPLAINED}"
    )
  mine = measured.get("health/explained/content", 0.0)
  held_out = measured.get("health/explained/content_held_out", mine)
  if mine - held_out > _MOST_LOST:
    found["memorising"] = (
      f"of what position does not explain, predictions explain {mine:.3f} in "
      f"training examples and {held_out:.3f} in held-out ones, which is more "
      f"than {_MOST_LOST} apart"
    )
  return found
