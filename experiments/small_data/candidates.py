"""configs/digits.py with one thing changed that no setting changes.

  d2v train experiments/small_data/candidates.py:stacked \\
    --workdir=runs/stacked-0

After the colon is one of: shift, stacked, masks_2, masks_4, tanh, tanh_alone,
variance, variance_10. README.md says which of them have been run, and what came
out.
"""

import dataclasses

import jax
import jax.numpy as jnp
import ml_collections

from configs import digits
from d2v_jax.models.heads import LinearHead
from d2v_jax.models.plain_norms import instance_norm
from d2v_jax.objectives import OBJECTIVES, ema, losses
from d2v_jax.objectives.data2vec import Data2Vec
from d2v_jax.objectives.objective import Loss
from d2v_jax.objectives.targets import TARGET_NORMS


@dataclasses.dataclass(frozen=True)
class Candidate(Data2Vec):
  """data2vec of images with one thing more.

  Attributes:
    shift: the student's image is moved by up to so many pixels, down and
      across; the teacher's is not.
    masks: masks an example; the others are those of its neighbours in the
      batch. The teacher runs once.
    variance: weight of mean_d max(0, 1/2 - std_d) of the student's output,
      less each position's mean over the batch.
    covariance: weight of the squares of its covariances, summed over all pairs
      of different channels, over D.
  """

  shift: int = 0
  masks: int = 1
  variance: float = 0.0
  covariance: float = 0.0

  def loss(self, params, teacher_params, batch, rng):
    """See `Objective.loss`."""
    y = self.teacher_targets(params, teacher_params, batch)  # [B, N, T]
    if self.shift:
      moved = shifted(batch["inputs"], rng, self.shift)
      batch = {**batch, "inputs": moved}
    loss, covered, output = 0.0, 0, None
    for i in range(self.masks):
      mask = jnp.roll(batch["mask"], i, 0)  # [B, N]
      output = self.encoder(params, batch, mask=mask, rng=rng).tokens
      f = self.head(params["head"], output)  # [B, N, T]
      error = losses.regression_loss(f, y, self.loss_beta).sum(-1)
      loss += losses.masked_mean(error, mask) / self.masks / y.shape[-1]
      covered += mask.sum()
    if self.variance or self.covariance:
      loss += self._spread(output)
    metrics = {
      "target_std": losses.masked_std(y, mask),
      "prediction_std": losses.masked_std(jax.lax.stop_gradient(f), mask),
    }
    return Loss(loss, covered.astype(loss.dtype), metrics)

  def _spread(self, output):
    """The terms of variance and covariance of tokens [B, N, D]."""
    x = output - output.mean(0)
    covariance = jnp.einsum("bnd,bne->de", x, x) / (x.shape[0] * x.shape[1])
    squares = jnp.diagonal(covariance)  # [D]
    small = jax.nn.relu(0.5 - jnp.sqrt(squares + 1e-4)).mean()
    others = (jnp.square(covariance).sum() - jnp.square(squares).sum()) / len(
      squares
    )
    return self.variance * small + self.covariance * others


@dataclasses.dataclass(frozen=True)
class Stacked(Candidate):
  """The teacher's top K layers side by side, each normalised: [B, N, K * D]."""

  head: LinearHead

  def teacher_targets(self, params, teacher_params, batch, features=None):
    """See `Data2Vec.teacher_targets`."""
    teacher = ema.teacher(params, teacher_params)
    layers = self.encoder(teacher, batch, features=features).ffn
    layers = layers[-self.targets.top_k :]  # [K, B, N, D]
    y = jnp.concatenate([instance_norm(a) for a in layers], -1)
    return jax.lax.stop_gradient(y)


def shifted(images: jax.Array, rng: jax.Array, most: int) -> jax.Array:
  """Each image [B, H, W, C] moved by -most to most pixels, zeros behind it."""
  size = images.shape[1:]
  around = ((0, 0), (most, most), (most, most), (0, 0))
  starts = jax.random.randint(rng, (len(images), 2), 0, 2 * most + 1)

  def cut(image, start):
    return jax.lax.dynamic_slice(image, (*start, 0), size)

  return jax.vmap(cut)(jnp.pad(images, around), starts)


CHANGES = {
  "shift": dict(shift=1),
  "stacked": dict(
    name="stacked", head=dict(num_outputs=3 * 96, initial="beit")
  ),
  "masks_2": dict(masks=2),
  "masks_4": dict(masks=4),
  "tanh": dict(
    targets=dict(output="ffn", top_k=3, layer_norms=("instance", "tanh"))
  ),
  "tanh_alone": dict(
    targets=dict(output="block", top_k=3, layer_norms=("tanh",))
  ),
  "variance": dict(variance=0.1, covariance=0.01),
  "variance_10": dict(variance=1.0, covariance=0.1),
}


def get_config(name: str) -> ml_collections.ConfigDict:
  """Returns the config of one candidate."""
  if name not in CHANGES:
    raise ValueError(
      f"unknown candidate {name!r}; choose one of: {', '.join(CHANGES)}."
    )
  OBJECTIVES.update(candidate=Candidate, stacked=Stacked)
  TARGET_NORMS["tanh"] = lambda x, padding: jnp.tanh(x)
  c = digits.get_config()
  c.objective = {**c.objective.to_dict(), "name": "candidate", **CHANGES[name]}
  return c
