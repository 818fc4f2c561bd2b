"""How many updates there is time for."""

import dataclasses

from d2v_jax import run_shares
from d2v_jax.config import ConfigError

# What is not measured: logs, checkpoints, the page at the end.
_SPARE = 0.05
_FEWEST = 100  # updates that make a run
# As the longest of the released recipes, vit_base.py and its siblings.
EPOCHS = 800


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timing:
  """What was measured on this machine, in seconds.

  Attributes:
    start: until the first update: compiling, above all.
    update: of one, data included.
    evaluation: of one; 0 where there is none.
  """

  start: float
  update: float
  evaluation: float = 0.0


def updates(
  minutes: float, spent: float, cost: Timing, every: int | str
) -> int:
  """Updates of a run that ends in time.

  Args:
    minutes: for all of it.
    spent: seconds of them that are over.
    cost: of its parts.
    every: updates between evaluations, or a share of the run; 0: one at the
      start and one at the end.

  Raises:
    ConfigError: too few.
  """
  left = minutes * 60 - spent - cost.start
  update, number = cost.update, 2.0
  share = run_shares.part(every)
  if share:
    number = 1 + round(1 / share)
  elif isinstance(every, int) and every > 0:
    update += cost.evaluation / every
  left -= number * cost.evaluation
  made = int(left * (1 - _SPARE) / update)
  if made < _FEWEST:
    evaluations = (
      f", an evaluation {cost.evaluation:.1f} s" if cost.evaluation else ""
    )
    raise ConfigError(
      f"config.minutes: got {minutes:g}, too few: {spent:.0f} s are over, a "
      f"start takes {cost.start:.0f} s, an update {cost.update:.3g} s"
      f"{evaluations}, so that {max(made, 0)} updates are left of at least "
      f"{_FEWEST}. Give more minutes, or set config.total_steps."
    )
  return made


def most_updates(count: int, batch_size: int) -> int:
  """Updates after which a run ends, however much time is left.

  Args:
    count: examples to train on.
    batch_size: of them.
  """
  return max(EPOCHS * count // batch_size, _FEWEST)
