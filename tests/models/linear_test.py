"""Linear maps: their gradients, and how these are computed."""

import jax
import numpy as np
import pytest

from d2v_jax.models.linear import product

_SHAPE = (4, 65, 48)  # [B, N, C]
_WIDTH = 96  # D


def _arrays(*shapes):
  rng = np.random.default_rng(0)
  return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def _gradients(x, kernel, dy):
  return jax.vjp(product, x, kernel)[1](dy)


@pytest.mark.parametrize("tokens", [(5,), (2, 3), (2, 3, 4)])
def test_gradients_are_those_of_numpy(tokens):
  x, kernel, dy = _arrays((*tokens, 6), (6, 7), (*tokens, 7))
  dx, dkernel = jax.jit(_gradients)(x, kernel, dy)
  x, kernel, dy = (np.float64(a) for a in (x, kernel, dy))
  expected = dy @ kernel.T
  np.testing.assert_allclose(dx, expected, rtol=1e-5, atol=1e-5)
  axes = tuple(range(len(tokens)))
  expected = np.tensordot(x, dy, (axes, axes))
  np.testing.assert_allclose(dkernel, expected, rtol=1e-5, atol=1e-5)


def test_cpus_transpose_no_tokens():
  shapes = _SHAPE, (_SHAPE[-1], _WIDTH), (*_SHAPE[:2], _WIDTH)
  compiled = jax.jit(_gradients).lower(*_arrays(*shapes)).compile().as_text()
  tokens = _SHAPE[0] * _SHAPE[1]
  assert f"f32[{tokens},{_SHAPE[-1]}]" in compiled
  assert f"f32[{_SHAPE[-1]},{tokens}]" not in compiled


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_accelerators_keep_axes_of_tokens(platform):
  shapes = _SHAPE, (_SHAPE[-1], _WIDTH), (*_SHAPE[:2], _WIDTH)
  traced = jax.jit(_gradients).trace(*_arrays(*shapes))
  text = traced.lower(lowering_platforms=(platform,)).as_text()
  assert "contracting_dims = [0, 1] x [0, 1]" in text
  assert "stablehlo.reshape" not in text
