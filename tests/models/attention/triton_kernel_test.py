"""The kernels for NVIDIA's GPUs: chosen, lowered, and on a GPU computed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import triton as plt
from jax.sharding import AbstractDevice, AbstractMesh

from d2v_jax.models import hashed_dropout
from d2v_jax.models.attention import attend as attend_lib
from d2v_jax.models.attention import triton_call, triton_kernel
from d2v_jax.models.attention.attention_bias import AttentionBias
from d2v_jax.models.attention.triton_program import Tiles
from tests.models.attention.attend_test import (
  assert_close,
  case,
  expected,
  through,
)


def refusal(*, head=64, dtype=jnp.bfloat16):
  qkv, bias, _ = case("pairs", length=5, heads=2, head=head, dtype=dtype)
  return triton_kernel.refusal(qkv.shape, qkv.dtype, bias, num_heads=2)


def test_what_it_cannot_do_has_a_reason(monkeypatch):
  assert "up to 128, not of 144" in refusal(head=144)
  assert "not in float16" in refusal(dtype=jnp.float16)
  assert "in float32 they are faster" in refusal(dtype=jnp.float32)

  def find(capability):
    found = type("Info", (), {"compute_capability": capability})
    monkeypatch.setattr(plt, "get_gpu_info", lambda: found, raising=False)

  find(75)
  assert "capability 80, not 75" in refusal()
  find(80)
  assert refusal() is refusal(head=128) is refusal(head=8) is None

  def unknown():
    raise ValueError

  monkeypatch.setattr(plt, "get_gpu_info", unknown, raising=False)
  assert "does not know the GPU" in refusal()


def test_sums_over_examples_and_any_tiles(monkeypatch):
  """Three examples at the same places, in tiles of other sizes."""
  cut = Tiles(64, 16, 4, 2)
  monkeypatch.setattr(triton_call, "tiles", lambda *_: cut)
  qkv, bias, gradient = case("pairs", "line", length=70, heads=2, head=16)
  qkv, gradient = (jnp.concatenate([x, x[:1] / 2]) for x in (qkv, gradient))
  bias = bias._replace(coordinates=bias.coordinates[:1])
  keys = hashed_dropout.dropout_keys(jax.random.key(1), 3, 2)
  rest = qkv, bias, keys, gradient, 2, 0.2
  assert_close(through("triton", *rest), expected(*rest), 1e-5)


def for_h100(function, *args):
  """The program that an H100 would get."""
  mesh = AbstractMesh((1,), ("x",))
  if hasattr(plt, "get_gpu_info"):
    kind = AbstractDevice("NVIDIA H100 80GB HBM3", 132, platform="gpu")
    mesh = AbstractMesh((1,), ("x",), abstract_device=kind)

  def placed(*args):
    with jax.sharding.use_abstract_mesh(mesh):
      return function(*args)

  traced = jax.jit(placed).trace(*args)
  return traced.lower(lowering_platforms=("cuda",)).as_text()


def test_a_gpu_gets_it_where_weights_are_dropped():
  qkv, bias, _ = case(
    "pairs", "padding", length=5, heads=2, head=64, dtype=jnp.bfloat16
  )

  def loss(qkv, bias):
    out = attend_lib.attend(
      qkv, bias, jax.random.key(0), num_heads=2, dropout=0.1
    )
    return out.astype(jnp.float32).sum()

  def of(qkv, pairs):
    return loss(qkv, bias._replace(pairs=pairs))

  gradient = jax.value_and_grad(of, argnums=(0, 1))
  text = for_h100(gradient, qkv, bias.pairs)
  # Forward, and again in the backward pass before the gradients of keys and
  # values, queries, and pairs, if these are wanted.
  assert text.count("__gpu$xla.gpu.triton") == 5


CASES = [  # biases, N, dropout
  ((), 197, 0.1),
  (("padding",), 512, 0.0),
  (("pairs",), 999, 0.1),
  (("pairs", "padding"), 197, 0.1),
  (("line",), 512, 0.1),
  (("padding", "grid"), 999, 0.0),
]


@pytest.fixture
def gpu():
  if jax.default_backend() != "gpu":
    pytest.skip("there is no GPU")


def on_gpu(qkv, bias, keys, gradient, dropout):
  sizes = {"num_heads": 2, "dropout": dropout}

  @jax.jit
  def run(qkv, bias, keys, gradient):
    out = triton_kernel.forward(qkv, bias, keys, **sizes)
    gradients = triton_kernel.backward(qkv, bias, keys, gradient, **sizes)
    return out, *gradients

  return run(qkv, bias, keys, gradient)


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("biases,length,dropout", CASES)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_on_a_gpu_values_and_gradients_are_those_of_the_definition(
  dtype, biases, length, dropout
):
  qkv, bias, gradient = case(
    *biases, length=length, heads=2, head=64, dtype=dtype
  )
  keys = None
  if dropout:
    keys = hashed_dropout.dropout_keys(jax.random.key(1), 2, 2)
  got = on_gpu(qkv, bias, keys, gradient, dropout)
  want = expected(qkv, bias, keys, gradient, 2, dropout)
  assert_close(got, want, 1e-5 if dtype == jnp.float32 else 2e-2)
  again = on_gpu(qkv, bias, keys, gradient, dropout)
  jax.tree.map(np.testing.assert_array_equal, got, again)


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_on_a_gpu_it_is_found(dropout):
  qkv, _, _ = case(length=197, heads=2, head=64, dtype=jnp.bfloat16)
  attend = functools.partial(attend_lib.attend, num_heads=2, dropout=dropout)
  lowered = jax.jit(attend).lower(qkv, AttentionBias(), jax.random.key(0))
  assert "gpu.triton" in lowered.as_text()
