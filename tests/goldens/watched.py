"""What an objective regresses and predicts, out of the step that it trains in.

One program for all that is compared: compiling is what these tests wait for.
"""

import dataclasses

from d2v_jax.objectives.data2vec2 import Data2Vec2
from d2v_jax.objectives.objective import Loss
from tests.goldens.v2 import WithNoise


def watched(objective):
  """The objective, whose metrics hold its targets `y` and predictions `x`."""
  if isinstance(objective, WithNoise):
    return dataclasses.replace(objective, base=watched(objective.base))
  kind, seen = type(objective), {}

  def kept(key, name):
    def method(self, *args, **kwargs):
      seen[key] = getattr(kind, name)(self, *args, **kwargs)
      return seen[key]

    return name, method

  def loss(self, *args):
    value, weight, metrics = kind.loss(self, *args)
    return Loss(value, weight, {**metrics, **seen})

  predicted = "decoded" if issubclass(kind, Data2Vec2) else "predictions"
  methods = dict([kept("y", "teacher_targets"), kept("x", predicted)])
  watching = type("Watched", (kind,), {**methods, "loss": loss})
  fields = dataclasses.fields(objective)
  return watching(**{f.name: getattr(objective, f.name) for f in fields})
