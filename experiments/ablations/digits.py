"""data2vec on digits, with one thing changed.

  d2v train experiments/ablations/digits.py:top_k=1 \\
    --workdir=runs/ablations/top_k=1-0 --config.seed=0

After the colon is `base` or one of CHANGES. The base is configs/digits.py with
six layers of width 64, and shorter.
"""

import dataclasses
import functools

import jax
import ml_collections

from configs import digits
from d2v_jax.objectives import OBJECTIVES
from d2v_jax.objectives.data2vec import Data2Vec

STEPS = 600


def _constant(decay):
  return {"ema": dict(start=decay, end=decay)}


# Name -> what changes in config.objective.
CHANGES = {
  **{f"top_k={k}": {"targets": {"top_k": k}} for k in (1, 2, 4, 5, 6)},
  "target=block": {"targets": {"output": "block"}},
  "target=attention": {"targets": {"output": "attention"}},
  "teacher_input=masked": {"name": "masked_teacher"},
  "layer_norms=none": {"targets": {"layer_norms": ()}},
  "layer_norms=layer": {"targets": {"layer_norms": ("layer",)}},
  "layer_norms=batch": {"targets": {"layer_norms": ("batch",)}},
  **{f"ema={decay}": _constant(decay) for decay in (0.0, 0.9, 0.99, 0.999)},
  "ema=1.0": _constant(1.0),
  **{f"loss_beta={b}": {"loss_beta": b} for b in (0.0, 0.25, 1.0, 4.0)},
}
# What the base has, in the words of the names above.
BASE = {
  "top_k": "3",
  "target": "ffn",
  "teacher_input": "whole",
  "layer_norms": "instance",
  "ema": "0.99 to 0.999",
  "loss_beta": "2.0",
}


@dataclasses.dataclass(frozen=True)
class MaskedTeacher(Data2Vec):
  """data2vec with a teacher that sees no more than the student."""

  def teacher_targets(
    self,
    params: dict,
    teacher_params: dict,
    batch: dict,
    features: jax.Array | None = None,
  ) -> jax.Array:
    """As Data2Vec's, of the masked input."""
    masked = functools.partial(self.encoder, mask=batch["mask"])
    twin = dataclasses.replace(self, encoder=masked)
    return Data2Vec.teacher_targets(
      twin, params, teacher_params, batch, features
    )


def get_config(name: str = "base") -> ml_collections.ConfigDict:
  """Returns the base, or the base with one change."""
  if name != "base" and name not in CHANGES:
    raise ValueError(
      f"unknown change {name!r}; choose base or one of: {', '.join(CHANGES)}."
    )
  # Not on import: the report imports this file, and needs no objective.
  OBJECTIVES["masked_teacher"] = MaskedTeacher
  c = digits.get_config()
  c.total_steps = c.checkpoint_every = STEPS
  c.encoder.update(width=64, depth=6)
  # As the digits were learned when all of this was measured.
  c.schedule.peak = 2e-3
  c.optimizer.muon = None
  with c.ignore_type():
    c.objective.update(CHANGES.get(name, {}))
  # A collapse is a result here, so nothing stops a run.
  c.health = dict(start_step="100%")
  c.evaluation.every = "50%"
  # Means over patches, likewise.
  c.evaluation.evaluators = dict(
    linear_probe=dict(holdout=0.3), knn=dict(), effective_rank=dict()
  )
  return c
