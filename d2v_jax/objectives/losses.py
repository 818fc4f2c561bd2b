"""Losses and masked statistics; all in float32 or more.

Source: data2vec (arXiv 2202.03555) section 3.3 and the released code.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from d2v_jax.models.plain_norms import full_precision

# How the sum over D is scaled: name -> (D -> factor).
LOSS_SCALES: dict[str, Callable[[int], float]] = {
  "mean": lambda width: 1.0 / width,
  "rsqrt": lambda width: width**-0.5,
}


def regression_loss(
  prediction: jax.Array, target: jax.Array, beta: float
) -> jax.Array:
  """Smooth L1, element by element; beta 0 is squared error without the half.

  Equation 2: e**2 / (2 beta) for e < beta, else e - beta / 2, e = |difference|.

  Args:
    prediction: any shape.
    target: the same shape.
    beta: switch from quadratic to linear, in units of the target; 0 means
      e**2 everywhere, as in the released code (not L1, as in PyTorch).

  Returns:
    The same shape, float32 (float64 if the inputs are).

  Raises:
    ValueError: if the shapes differ or beta is negative.
  """
  if prediction.shape != target.shape:
    raise ValueError(
      f"regression_loss: prediction {prediction.shape} and target "
      f"{target.shape} must have the same shape."
    )
  if beta < 0:
    raise ValueError(f"regression_loss: beta must be 0 or more, got {beta}.")
  error = jnp.abs(full_precision(prediction) - full_precision(target))
  if beta == 0:
    return error**2
  return jnp.where(error < beta, 0.5 * error**2 / beta, error - 0.5 * beta)


def loss_scale(scale: str | float, width: int) -> float:
  """Factor on the sum over D, by name or as given, for width D."""
  return LOSS_SCALES[scale](width) if isinstance(scale, str) else scale


def check_regression(name: str, beta: float, scale: str | float) -> None:
  """Raises ValueError for settings that a regression cannot have.

  Args:
    name: whose settings `loss_beta` and `loss_scale` are, for the error.
    beta: as for `regression_loss`.
    scale: a name of LOSS_SCALES, or a number.
  """
  if beta < 0:
    raise ValueError(f"{name}: loss_beta must be 0 or more, got {beta}.")
  if isinstance(scale, str) and scale not in LOSS_SCALES:
    raise ValueError(
      f"{name}: unknown loss_scale {scale!r}; choose one of: "
      f"{', '.join(LOSS_SCALES)}, or give a number."
    )
  if not isinstance(scale, str) and scale <= 0:
    raise ValueError(f"{name}: loss_scale must be above 0, got {scale}.")


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
  """Mean of values [B, N] where mask [B, N] is True; 0 where nothing is."""
  count = jnp.maximum(mask.sum(), 1)
  return jnp.where(mask, values, 0.0).sum() / count


def masked_std(x: jax.Array, mask: jax.Array) -> jax.Array:
  """Mean over D of the std over masked tokens: near 0 means collapse.

  Args:
    x: [B, N, D].
    mask: [B, N] bool.

  Returns:
    Scalar mean_d sqrt(unbiased variance_d + 1e-6), over the global batch.

  Source: released speech code.
  """
  x = full_precision(x)
  weight = mask[..., None].astype(x.dtype)  # [B, N, 1]
  count = weight.sum()
  mean = (x * weight).sum((0, 1)) / jnp.maximum(count, 1)  # [D]
  square = (jnp.square(x - mean) * weight).sum((0, 1))
  variance = square / jnp.maximum(count - 1, 1)
  return jnp.sqrt(variance + 1e-6).mean()


def position_share(x: jax.Array, padding: jax.Array | None) -> jax.Array:
  """Share of the variance of tokens that their position alone explains.

  That of the means of each position, over all examples; 1 where all examples
  have the same tokens, 0 where positions tell nothing. It is estimated without
  the share that means of few examples have by chance (epsilon squared of an
  analysis of variance, over all D together).

  Args:
    x: [B, N, D].
    padding: [B, N] bool, True at tokens that do not count; None: all do.

  Returns:
    Scalar, 0 to 1; 0 where no position has two examples.
  """
  x = full_precision(x)
  real = jnp.ones(x.shape[:2], x.dtype)
  if padding is not None:
    real = (~padding).astype(x.dtype)
  weight = real[..., None]  # [B, N, 1]
  examples = weight.sum(0)  # [N, 1]
  at_position = (x * weight).sum(0) / jnp.maximum(examples, 1)  # [N, D]
  count = real.sum()
  mean = (at_position * examples).sum(0) / jnp.maximum(count, 1)  # [D]
  within = (jnp.square(x - at_position) * weight).sum()
  total = (jnp.square(x - mean) * weight).sum()
  spare = count - (examples > 0).sum()
  ratio = within / jnp.maximum(spare, 1) * jnp.maximum(count - 1, 1)
  share = 1 - ratio / jnp.maximum(total, 1e-12)
  return jnp.where(spare > 0, jnp.clip(share, 0, 1), 0)


def ctc_loss(
  logits: jax.Array, padding: jax.Array | None, labels: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Negative log probability of all alignments with the labels; 0 is blank.

  Args:
    logits: [B, N, V].
    padding: [B, N] bool, True at frames that do not count; None: all do.
    labels: [B, U] int, 1 to V - 1 (V or more gives NaN), filled with -1 at
      the end.

  Returns:
    Loss [B], float32 (float64 if the logits are), and feasible [B] bool: False
    where there are fewer frames than the labels need, with a blank between
    equal neighbours. The loss of such a row is 0.

  Source: Graves et al. 2006; data2vec's fine-tuning on LibriSpeech zeroes the
  infinite losses as well.
  """
  logits = full_precision(logits)
  if padding is None:
    padding = jnp.zeros(logits.shape[:2], bool)
  absent = labels < 0
  twice = (labels[:, 1:] == labels[:, :-1]) & ~absent[:, 1:]  # [B, U - 1]
  needed = (~absent).sum(1) + twice.sum(1)  # [B]
  feasible = needed <= (~padding).sum(1)
  loss = optax.ctc_loss(
    logits,
    padding.astype(logits.dtype),
    jnp.where(absent, 0, labels),
    absent.astype(logits.dtype),
  )
  loss = jnp.where((labels >= logits.shape[2]).any(1), jnp.nan, loss)
  # Such a loss would be about 1e5, with gradients to match.
  return jnp.where(feasible, loss, 0.0), feasible


def cross_entropy(
  logits: jax.Array, labels: jax.Array, label_smoothing: float = 0.0
) -> jax.Array:
  """Cross entropy with smoothed labels.

  Args:
    logits: [B, C].
    labels: [B] int, 0 to C - 1; others give NaN.
    label_smoothing: share of the target that is spread over all C classes.

  Returns:
    [B] float32 (float64 if the logits are).
  """
  log_p = jax.nn.log_softmax(full_precision(logits))
  # A negative index would count from the end.
  index = jnp.where(labels < 0, logits.shape[1], labels)[:, None]  # [B, 1]
  chosen = jnp.take_along_axis(log_p, index, 1, mode="fill")[:, 0]  # [B]
  # -((1 - s) log p(label) + s mean_c log p(c))
  return -(1 - label_smoothing) * chosen - label_smoothing * log_p.mean(1)
