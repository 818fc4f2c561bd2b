"""Lengths that a config gives as shares of the run, such as '10%'.

They follow config.total_steps: a run of another length is warmed up, annealed,
judged and evaluated in the same proportions.
"""

import re
from collections.abc import Mapping
from typing import Any

from d2v_jax.config import ConfigError, Spec

_SHARE = re.compile(r"(\d+(?:\.\d+)?)%")
# Beside those that end in `_steps`.
_NAMES = ("start_step", "every", "log_every", "checkpoint_every", "keep_every")
# Field -> what a shorter run means for it.
_ENDS = {
  "objective.ema.anneal_steps": "the teacher's decay never gets to its end",
  "health.start_step": "the run is not judged for collapse",
}


def is_length(field: str) -> bool:
  """Whether a field of a config counts updates, and may be a share of them."""
  return field != "total_steps" and (
    field in _NAMES or field.endswith("_steps")
  )


def is_share(value: Any) -> bool:
  """Whether a value is one, as '10%' is."""
  return part(value) is not None


def part(value: Any) -> float | None:
  """The part of the run that a value stands for: .1 of '10%'; None: none."""
  found = _SHARE.fullmatch(value) if isinstance(value, str) else None
  return float(found[1]) / 100 if found else None


def resolved(config: Spec) -> dict[str, Any]:
  """A config whose shares of the run are numbers of updates.

  Args:
    config: of a run; as it is where nothing in it is a share.

  Returns:
    A copy. Shares are rounded to whole updates, at least one unless they are 0.

  Raises:
    ConfigError: a share is above 100 %.
  """
  total = config.get("total_steps")
  # Without a length it is refused for that, whatever its shares would be.
  return _resolved(config, total if type(total) is int else 100, "config")


def _resolved(section: Spec, total: int, where: str) -> dict[str, Any]:
  made: dict[str, Any] = {}
  for name, value in section.items():
    path = f"{where}.{name}"
    if isinstance(value, Mapping):
      value = _resolved(value, total, path)
    elif is_length(name) and (share := part(value)) is not None:
      value = _updates(share, value, total, path)
    made[name] = value
  return made


def _updates(share: float, given: str, total: int, path: str) -> int:
  if share > 1:
    raise ConfigError(
      f"{path}: got {given!r}; a share of the run is at most '100%', and a "
      "number is one of updates."
    )
  return max(round(share * total), 1 if share else 0)


def longer_than_run(config: Spec) -> list[str]:
  """What a run would end in the middle of, in words.

  Args:
    config: of a run, its shares resolved.
  """
  total = config.get("total_steps")
  if type(total) is not int:
    return []
  found = []
  for path, what in _ENDS.items():
    value: Any = config
    for name in path.split("."):
      value = value.get(name) if isinstance(value, Mapping) else None
    if type(value) is int and value > total:
      found.append(
        f"config.{path}={value} is more than config.total_steps={total}: "
        f"{what}; give it as a share of the run, such as '50%'."
      )
  return found
