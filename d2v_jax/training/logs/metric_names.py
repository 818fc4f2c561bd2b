"""What the names of metrics say of them."""

import re

# Choices and scores on training examples, which tell nothing of the features.
_SETTING = re.compile(
  "learning_rate|weight_decay|best_(layer|pool)|train_accuracy"
  "|(best_)?validation_accuracy.*|.*_(std|low|high)"
)
_OF_PART = re.compile(r"health/(\w+)/(\w+)")
_OF_LAYER = re.compile(r"(.+/)(?:(.*)_)?(\d\d)")


def is_result(name: str) -> bool:
  """Whether a metric is a result of an evaluator, not of one layer alone."""
  return (
    "/" in name
    and of_part(name) is None
    and of_layer(name) is None
    and not is_setting(name)
  )


def of_part(name: str) -> tuple[str, str] | None:
  """What was measured of the network itself, and of which part.

  Returns:
    Such as ('rank', 'block_00'); None for what is no such metric.
  """
  found = _OF_PART.fullmatch(name)
  return (found[1], found[2]) if found else None


def of_layer(name: str) -> str | None:
  """The kind of output of which a metric is, if it is of one layer alone.

  Returns:
    Such as 'position_share/block'; '' for the final output of all kinds.
  """
  if of_part(name):
    return None
  if found := _OF_LAYER.fullmatch(name):
    return f"{found[1]}{found[2] or ''}"
  return "" if name.endswith("/final") else None


def is_setting(name: str) -> bool:
  """Whether a metric is what an evaluator chose, or chose it by."""
  return bool(_SETTING.fullmatch(name.partition("/")[2]))


def results_first(names: list[str]) -> list[str]:
  """The results among metrics of evaluators, accuracies before all others."""
  results = filter(is_result, names)
  return sorted(results, key=lambda name: not name.endswith("accuracy"))
