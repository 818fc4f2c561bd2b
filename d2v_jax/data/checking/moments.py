"""Mean and standard deviation of the examples' channels."""

from typing import NamedTuple

import numpy as np

from d2v_jax.data.checking.survey import Survey


class Moments(NamedTuple):
  """Of each channel, in the unit of the config's mean and std.

  Attributes:
    mean: float64 [C].
    std: float64 [C].
  """

  mean: np.ndarray
  std: np.ndarray


def of(survey: Survey) -> Moments | None:
  """Mean and standard deviation over all values of the examples.

  Each example counts the same, whatever its size, as all are brought to one
  size for the network.

  Returns:
    None where examples have none.
  """
  found = [x.moments for x in survey.looks.values() if x.moments is not None]
  if not found:
    return None
  mean, square = np.mean(found, axis=0)
  return Moments(mean, np.sqrt(np.maximum(square - mean**2, 0)))
