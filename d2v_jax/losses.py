"""Losses, target normalisation and masked statistics; all in float32 or more.

Source: data2vec section 3.3 and the released code. Target norms have no
parameters, biased variance and epsilon 1e-5, also where the model's norms use
another.
"""

import jax
import jax.numpy as jnp

_EPS = 1e-5


def _full_precision(x: jax.Array) -> jax.Array:
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


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
  error = jnp.abs(_full_precision(prediction) - _full_precision(target))
  if beta == 0:
    return error**2
  return jnp.where(error < beta, 0.5 * error**2 / beta, error - 0.5 * beta)


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
  x = _full_precision(x)
  weight = mask[..., None].astype(x.dtype)
  count = weight.sum()
  mean = (x * weight).sum((0, 1)) / jnp.maximum(count, 1)
  square = (jnp.square(x - mean) * weight).sum((0, 1))
  variance = square / jnp.maximum(count - 1, 1)
  return jnp.sqrt(variance + 1e-6).mean()


def layer_norm(x: jax.Array) -> jax.Array:
  """Normalises each token of x [B, N, D] over D."""
  return _normalise(x, (-1,))


def instance_norm(x: jax.Array) -> jax.Array:
  """Normalises each channel of each example of x [B, N, D] over N."""
  return _normalise(x, (-2,))


def batch_norm(x: jax.Array) -> jax.Array:
  """Normalises each channel of x [B, N, D] over B and N of the global batch."""
  return _normalise(x, (-3, -2))


def _normalise(x, axes):
  x = _full_precision(x)
  x -= x.mean(axes, keepdims=True)
  return x * jax.lax.rsqrt(jnp.square(x).mean(axes, keepdims=True) + _EPS)


TARGET_NORMS = {
  "layer": layer_norm,
  "instance": instance_norm,
  "batch": batch_norm,
}
