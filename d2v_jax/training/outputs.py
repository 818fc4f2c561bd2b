"""A supervised head's outputs, and the classes that they stand for."""

from typing import Any

from d2v_jax.config import ConfigError, Spec
from d2v_jax.data.dataset import Dataset

# Objectives with an output for each class.
OF_CLASSES = ("classification", "multi_label")


def with_classes(config: Spec, source: Any) -> Spec:
  """A run's config, with the names of the classes of a classifier's outputs.

  Args:
    config: of the run.
    source: examples to train on.
  """
  names = getattr(source, "class_names", ())
  if not names or config["objective"].get("name") not in OF_CLASSES:
    return config
  return {**config, "data": {**config["data"], "classes": names}}


def check(objective: Spec, dataset: Dataset, source: Any) -> None:
  """Checks that a supervised head has as many outputs as there are labels.

  Args:
    objective: config.objective.
    dataset: config.data.
    source: examples to train on.

  Raises:
    ConfigError: it has another number.
  """
  outputs = (objective.get("head") or {}).get("num_outputs")
  wanted = getattr(dataset.labels, "num_outputs", None)
  if objective.get("name") in OF_CLASSES:
    wanted = len(getattr(source, "class_names", ())) or outputs
  if wanted is not None and outputs != wanted:
    raise ConfigError(
      f"config.objective.head.num_outputs: got {outputs}, but the labels have "
      f"{wanted} different values; set it to {wanted}."
    )
