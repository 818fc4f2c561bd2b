"""Health by part: what each part of a network makes of a few examples.

Measured now and then by a program of its own, so that the step stays as it is.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh, NamedSharding

from d2v_jax.evaluators.effective_rank import effective_rank
from d2v_jax.models.plain_norms import full_precision
from d2v_jax.objectives.losses import masked_std
from d2v_jax.objectives.objective import Batch, Objective, Params, Regressed
from d2v_jax.training import sharding

HostBatch = Mapping[str, np.ndarray]
# Examples, and of their tokens those whose rank is computed, which is work of
# the host: a quarter of a second for 512 of width 1024.
_EXAMPLES = 32
_TOKENS = 512
# What is explained worse than by a constant is as bad as this at most.
_WORST = -1.0


class Measures(NamedTuple):
  """Of tokens x [R, N, D] that count by weights w [R, N].

  Attributes:
    std: mean over D of the standard deviation over tokens.
    spread: root of the share of the mean square that is not the tokens' common
      vector: 0 where all are the same, 1 where their mean is 0. Unlike the
      standard deviation it does not depend on the scale of a part.
    position_share: share of the variance, over all D together, that position
      alone explains: 1 - (within / f_w) / (total / f_t), clipped to 0 and 1.
      total = sum w |x - m|^2 about the mean m of all tokens, within the same
      about the mean of each position; with W = sum w and W_n that of position
      n, f_t = W - sum w^2 / W and f_w = W - sum_n sum_r w^2 / W_n are what
      they would be for tokens that are alike in law, times their variance. So
      means of few examples explain nothing by chance (epsilon squared of an
      analysis of variance where w is 0 or 1). 0 where tokens do not differ.
    sample: [S, D], tokens at random, for their effective rank; rows of 0 where
      there are not so many.
  """

  std: jax.Array
  spread: jax.Array
  position_share: jax.Array
  sample: jax.Array


class Explained(NamedTuple):
  """How much of the targets' variance predictions explain at hidden tokens.

  1 - (mean squared error) / (variance), -1 at least; 0 is what a constant does.

  Attributes:
    all: of all of it.
    content: of what position does not explain, so 0 is what a prediction of
      each position's mean does.
  """

  all: jax.Array
  content: jax.Array


def measures(x: jax.Array, weight: jax.Array) -> Measures:
  """See `Measures`.

  Args:
    x: [R, N, D].
    weight: [R, N], 0 for tokens that do not count.
  """
  x = full_precision(x)
  weight = weight.astype(x.dtype)
  total, within, mean_square = _variances(x, weight)
  differ = total > 1e-12 * mean_square
  share = 1 - within / jnp.where(differ, total, 1.0)
  size = min(_TOKENS, weight.size)
  order = jax.random.uniform(jax.random.key(0), weight.shape)
  order = jnp.where(weight > 0, order, -1.0).reshape(-1)
  first, index = jax.lax.top_k(order, size)
  rows = x.reshape(-1, x.shape[-1])[index]
  return Measures(
    masked_std(x, weight > 0),
    jnp.sqrt(total / jnp.maximum(mean_square, 1e-30)).clip(0, 1),
    jnp.where(differ, share.clip(0, 1), 0.0),
    jnp.where(first[:, None] >= 0, rows, 0.0),
  )


def explained(it: Regressed) -> Explained:
  """See `Explained`."""
  y, f = full_precision(it.targets), full_precision(it.predictions)
  masks = it.mask.reshape(len(y), -1, y.shape[1])  # [B, M, N]
  f = f.reshape(*masks.shape, -1)  # [B, M, N, P]
  error = jnp.square(f - y[:, None]).sum(-1)  # [B, M, N]
  error = jnp.where(masks, error, 0.0).sum() / jnp.maximum(masks.sum(), 1)
  # A target counts as often as it is hidden.
  total, within, _ = _variances(y, masks.sum(1).astype(y.dtype))
  shares = [1 - error / jnp.maximum(x, 1e-12) for x in (total, within)]
  return Explained(*(jnp.maximum(x, _WORST) for x in shares))


def _variances(
  x: jax.Array, weight: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Variance of a token, that about its position's mean, and its mean square.

  Sums over D of x [R, N, D] with weights [R, N], the first two unbiased.
  """
  every, at = weight.sum(), weight.sum(0)  # W, and W_n [N]
  square = jnp.square(weight)
  w = weight[..., None]
  count = jnp.maximum(every, 1e-30)
  mean = (x * w).sum((0, 1)) / count  # [D]
  at_position = (x * w).sum(0) / jnp.maximum(at, 1e-30)[:, None]  # [N, D]
  total = (jnp.square(x - mean) * w).sum()
  within = (jnp.square(x - at_position) * w).sum()
  spare = every - square.sum() / count
  spare_within = every - (square.sum(0) / jnp.maximum(at, 1e-30)).sum()
  mean_square = (jnp.square(x) * w).sum() / count
  return (
    total / jnp.maximum(spare, 1e-30),
    jnp.where(spare_within > 0, within / jnp.maximum(spare_within, 1e-30), 0.0),
    mean_square,
  )


def of_network(
  objective: Objective, params: Params, teacher_params: Params, batch: Batch
) -> tuple[dict[str, Measures], dict[str, Measures], Explained | None]:
  """All parts of a network on a batch, as the teacher has them.

  Args:
    objective: whose network it is.
    params: the student's.
    teacher_params: the teacher's own sub-trees.
    batch: arrays [B, ...], as for training.

  Returns:
    Of single parts: `features` (the feature encoder's tokens, without
    positions), `output`, and where an objective regresses tokens `targets` and
    `predictions`, both where they are hidden. Of stacked ones: `block`, of L
    layers. And how well predictions explain the targets.
  """
  network = {**params, **teacher_params}
  output, front_end = objective.encoder.with_front_end(network, batch)
  real = jnp.ones(output.tokens.shape[:2])  # [B, N]
  if output.padding is not None:
    real = real * ~output.padding
  single = {
    "features": measures(front_end, real),
    "output": measures(output.tokens, real),
  }
  stacked = {
    "block": jax.vmap(lambda x: measures(x, real))(output.block),
  }
  found = objective.regressed(params, teacher_params, batch)
  if found is None:
    return single, stacked, None
  y, f, mask = found
  hidden = mask.reshape(len(y), -1, y.shape[1]).sum(1)  # [B, N]
  single |= {
    "targets": measures(y, hidden),
    "predictions": measures(f, mask),
  }
  return single, stacked, explained(found)


class Parts:
  """Measures the parts of a run's network.

  Args:
    objective: whose network it is.
    mesh: devices of the run.
    held_out: (rows, shape) -> examples with `inputs` [rows, *shape] of this
      process, prepared as for training, that are not trained on; None: there
      are none.
  """

  def __init__(
    self,
    objective: Objective,
    mesh: Mesh,
    held_out: Callable[[int, tuple[int, ...]], HostBatch] | None = None,
  ) -> None:
    self._mesh = mesh
    self._placed: NamedSharding = sharding.batch_sharding(mesh)
    self._held_out = held_out
    # Of each shape, as lengths differ in much else.
    self._unseen: dict[tuple[int, ...], HostBatch | None] = {}

    def parts(params: Params, teacher_params: Params, batch: Batch):
      return of_network(objective, params, teacher_params, batch)

    self._parts = jax.jit(
      sharding.under(mesh, parts), out_shardings=sharding.replicated(mesh)
    )

  def __call__(
    self, params: Params, teacher_params: Params, batch: HostBatch
  ) -> dict[str, float]:
    """Measures of the first examples of a batch, the same on every host.

    Args:
      params: the student's.
      teacher_params: the teacher's own sub-trees.
      batch: this process's part of a training batch.

    Returns:
      `health/std/features` and so on: each of std, spread, rank (effective
      rank of at most 512 tokens, not centred) and position_share of features,
      block_00 to block_{L - 1}, output, targets and predictions. And
      `health/explained/all`, `/content`, and `/content_held_out` where there
      are examples that are not trained on.
    """
    rows = self._rows(len(batch["inputs"]))
    single, stacked, share = self._run(params, teacher_params, batch, rows)
    found = _named(single, stacked)
    if share is None:
      return found
    found |= {f"health/explained/{k}": v for k, v in share._asdict().items()}
    held_out = self._taken(rows, batch["inputs"].shape[1:])
    if held_out is not None:
      unseen = self._run(params, teacher_params, held_out, rows)[2]
      assert unseen is not None  # as there was one before
      found["health/explained/content_held_out"] = unseen.content
    return {k: float(v) for k, v in found.items()}

  def _taken(self, rows: int, shape: tuple[int, ...]) -> HostBatch | None:
    if self._held_out is None:
      return None
    if shape not in self._unseen:
      try:
        self._unseen[shape] = self._held_out(rows, shape)
      except ValueError as e:
        logging.warning("whether the run memorises is not judged: %s", e)
        self._unseen[shape] = None
    return self._unseen[shape]

  def _rows(self, most: int) -> int:
    """Of this process: as many for each device."""
    local = self._mesh.local_mesh.size
    return min(most, -(-_EXAMPLES // self._mesh.size) * local)

  def _run(self, params, teacher_params, batch, rows):
    """What `of_network` gives of the first rows of a batch."""
    first = {k: x[:rows] for k, x in batch.items()}
    placed = sharding.to_devices(first, self._placed)
    return jax.device_get(self._parts(params, teacher_params, placed))


def _named(
  single: Mapping[str, Measures], stacked: Mapping[str, Measures]
) -> dict[str, float]:
  """Measures by their names in the log, with the ranks of their samples."""
  parts = dict(single)
  for name, it in stacked.items():
    for i in range(len(it.std)):
      parts[f"{name}_{i:02}"] = Measures(*(x[i] for x in it))
  found: dict[str, float] = {}
  for part, it in parts.items():
    numbers = it._asdict()
    numbers["rank"] = effective_rank(numbers.pop("sample"))
    found |= {f"health/{k}/{part}": float(v) for k, v in numbers.items()}
  return found
