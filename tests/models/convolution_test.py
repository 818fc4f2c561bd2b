import jax
import numpy as np
import pytest

from d2v_jax.models.convolution import grouped_conv, lax_conv, windows_conv


def by_hand(x, kernel, groups):
  """A loop over frames and groups in float64."""
  size, channels, width = kernel.shape
  batch, length, _ = x.shape
  padded = np.pad(x, ((0, 0), (size // 2, size), (0, 0))).astype(np.float64)
  y = np.zeros((batch, length, width))
  step = width // groups
  for t in range(length):
    for g in range(groups):
      window = padded[:, t : t + size, g * channels : (g + 1) * channels]
      part = kernel[..., g * step : (g + 1) * step].astype(np.float64)
      y[:, t, g * step : (g + 1) * step] = np.einsum(
        "bkc,kcd->bd", window, part
      )
  return y


@pytest.mark.parametrize("size", [3, 4, 7])
@pytest.mark.parametrize("conv", [grouped_conv, lax_conv, windows_conv])
def test_convolution_by_hand(conv, size):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 5, 12)).astype(np.float32)
  kernel = rng.normal(size=(size, 4, 6)).astype(np.float32)
  y = jax.jit(conv, static_argnums=2)(x, kernel, 3)
  np.testing.assert_allclose(y, by_hand(x, kernel, 3), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [3, 4])
@pytest.mark.parametrize("conv", [lax_conv, windows_conv])
def test_a_grid_is_a_sum_over_the_rows_of_the_kernel(conv, size):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 5, 6, 12)).astype(np.float32)
  kernel = rng.normal(size=(size, size, 4, 6)).astype(np.float32)
  y = jax.jit(conv, static_argnums=2)(x, kernel, 3)
  expected = np.zeros((2, 5, 6, 6))
  for i in range(size):
    for row in range(5):
      seen = row + i - size // 2
      if 0 <= seen < 5:
        expected[:, row] += by_hand(x[:, seen], kernel[i], 3)
  np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("space", [(9,), (3, 5)])
def test_gradients_agree(space):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, *space, 8)).astype(np.float32)
  kernel = rng.normal(size=(*(4,) * len(space), 2, 8)).astype(np.float32)
  weight = rng.normal(size=x.shape).astype(np.float32)

  def gradient(conv):
    def loss(x, kernel):
      return (weight * conv(x, kernel, 4)).sum()

    return jax.jit(jax.grad(loss, (0, 1)))(x, kernel)

  theirs = gradient(lax_conv)
  for conv in (windows_conv, grouped_conv):
    for ours, expected in zip(gradient(conv), theirs, strict=True):
      np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("platform", ["cpu", "tpu", "cuda"])
def test_the_platform_that_is_compiled_for_decides(platform):
  x = jax.ShapeDtypeStruct((2, 9, 8), np.float32)
  kernel = jax.ShapeDtypeStruct((4, 2, 8), np.float32)

  def gradients(x, kernel):
    return jax.grad(lambda *a: grouped_conv(*a, 4).sum(), (0, 1))(x, kernel)

  traced = jax.jit(gradients).trace(x, kernel)
  text = traced.lower(lowering_platforms=(platform,)).as_text()
  assert ("stablehlo.convolution" in text) == (platform != "cpu")
