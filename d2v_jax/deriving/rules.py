"""The rules of each modality, and of the length of a run."""

from collections.abc import Callable
from typing import Any, NamedTuple

import ml_collections

from d2v_jax.config import ConfigError
from d2v_jax.deriving import findings, images, recordings, texts
from d2v_jax.deriving.marks import Chosen, filled

LENGTH = "total_steps"
TOKENIZER = "data.tokenizer.path"
SOME_STEPS = 1_000  # while the length is not known


class Rules(NamedTuple):
  """Those of a modality.

  Attributes:
    choose: (findings, chosen, small, devices) -> whether the network is the
      smaller one.
    averages: updates -> the teacher's decay at the start and the end.
    example: findings that stand for any.
  """

  choose: Callable[[Any, Chosen, bool, int], bool]
  averages: Callable[[int], tuple[float, float]]
  example: findings.Findings


_RULES = {
  "vision": Rules(
    images.choose,
    images.averages,
    images.ImageFindings(
      count=10_000, sides=(32,), channels=3, mean=(0.5,) * 3, std=(0.25,) * 3
    ),
  ),
  "speech": Rules(
    recordings.choose,
    recordings.averages,
    recordings.RecordingFindings(count=10_000, seconds=(1.0, 2.0)),
  ),
  "text": Rules(
    texts.choose,
    texts.averages,
    texts.TextFindings(count=100_000, characters=10_000_000),
  ),
}


def of(config: Any) -> Rules:
  """The rules of a config's modality.

  Raises:
    ConfigError: there are none.
  """
  modality = config.get("modality")
  if modality not in _RULES:
    raise ConfigError(
      f"config.modality: got {modality!r}, but values are derived only for: "
      f"{', '.join(_RULES)}; give those that are 'derived'."
    )
  return _RULES[modality]


def choose_length(chosen: Chosen, rules: Rules, total: int, why: str) -> None:
  """Chooses the length of a run, and what depends on it.

  Args:
    chosen: receives the values.
    rules: of its modality.
    total: updates, unless the config says it.
    why: so many, in words.
  """
  total = chosen.take(LENGTH, total, why)
  # Another type is refused when the run is built.
  start, end = rules.averages(total if isinstance(total, int) else SOME_STEPS)
  why = f"as of a run of {total} updates"
  chosen.take("objective.ema.start", start, why)
  chosen.take("objective.ema.end", end, why)


def provisional(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """The config with values that would do for some data; none are read.

  Args:
    config: with fields that are to be derived.

  Raises:
    ConfigError: a field cannot be derived.
  """
  rules, chosen = of(config), Chosen(config)
  rules.choose(rules.example, chosen, False, 1)
  chosen.take(TOKENIZER, "tokenizer.json", "")
  choose_length(chosen, rules, SOME_STEPS, "")
  return filled(config, chosen.values)
