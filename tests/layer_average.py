"""The average of layers that are there, as the encoder makes it of its own."""

import numpy as np

from d2v_jax.models.layer_average import LayerAverage, LayerOutputs


def averaged(average: LayerAverage, layers: LayerOutputs, padding=None):
  """The average of stacked outputs, each [L, B, N, D]."""
  depth = len(layers.block)
  average.check(depth)
  total = np.zeros_like(layers.block[0])
  for i in range(depth):
    one = LayerOutputs(*(x[i] for x in layers))
    total = average.add(total, one, depth - 1 - i, padding)
  return total / average.top_k
