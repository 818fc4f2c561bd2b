"""Every implementation of attention against its definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from d2v_jax.models import hashed_dropout
from d2v_jax.models.attention import attend as attend_lib
from d2v_jax.models.attention import tpu_kernel, triton_kernel
from d2v_jax.models.attention.attend import attend
from d2v_jax.models.attention.attention_bias import (
  AttentionBias,
  coordinates,
  distances,
)
from d2v_jax.models.hardware import placement

KERNELS = {"kernel": tpu_kernel, "triton": triton_kernel}
BIASES = ("pairs", "padding", "line", "grid")


def case(*biases, length, heads, head, batch=2, dtype=jnp.float32):
  """qkv, bias, and a gradient of the output."""
  rng = np.random.default_rng(0)
  whole = jnp.promote_types(dtype, jnp.float32)

  def normal(*shape, dtype=whole):
    return jnp.asarray(rng.normal(size=shape), dtype)

  width = heads * head
  bias = AttentionBias()
  if "pairs" in biases:
    bias = bias.plus_pairs(normal(heads, length, length))
  if "padding" in biases:
    first = length - np.arange(batch) % 3
    bias = bias._replace(padding=jnp.arange(length) >= first[:, None])
  for name, grid in (("line", ()), ("grid", (length, 3))):
    if name in biases:
      ids = np.sort(rng.integers(0, 2 * length, (batch, length - 1)))
      bias = bias._replace(
        coordinates=coordinates(jnp.asarray(ids), grid, extra=1),
        slopes=jnp.abs(normal(heads)) / 4,
      )
  qkv = normal(batch, length, 3 * width, dtype=dtype)
  return qkv, bias, normal(batch, length, width, dtype=dtype)


def expected(qkv, bias, keys, gradient, heads, dropout):
  """Output and gradients of qkv, pairs and slopes, worked out in float64."""
  qkv, gradient = (np.asarray(x, np.float64) for x in (qkv, gradient))
  batch, length, width = gradient.shape

  def by_head(x):  # [B, N, D] -> [B, heads, N, d]
    return x.reshape(batch, length, heads, -1).transpose(0, 2, 1, 3)

  def merged(x):
    return x.transpose(0, 2, 1, 3).reshape(batch, length, width)

  q, k, v = map(by_head, np.split(qkv, 3, axis=2))
  gradient = by_head(gradient)
  scale = (width // heads) ** -0.5
  logits = scale * q @ k.swapaxes(2, 3)
  dense = bias.dense()
  if dense is not None:
    logits = logits + np.asarray(dense, np.float64)
  weights = np.exp(logits - logits.max(-1, keepdims=True))
  weights /= weights.sum(-1, keepdims=True)
  kept = np.ones(())
  if keys is not None:
    kept = hashed_dropout.kept_weights(keys, heads, length, dropout)
    kept = np.asarray(kept) / hashed_dropout.kept_share(dropout)
  d_weights = gradient @ v.swapaxes(2, 3) * kept
  d_logits = d_weights - (weights * d_weights).sum(-1, keepdims=True)
  d_logits *= weights
  d_qkv = (
    scale * d_logits @ k,
    scale * d_logits.swapaxes(2, 3) @ q,
    (weights * kept).swapaxes(2, 3) @ gradient,
  )
  d_pairs = d_slopes = None
  if bias.pairs is not None:
    d_pairs = d_logits.sum(0)
  if bias.slopes is not None:
    distance = np.asarray(distances(bias.coordinates))[:, None]
    d_slopes = -(d_logits * distance).sum((0, 2, 3))
  out = merged(weights * kept @ v)
  return out, np.concatenate([*map(merged, d_qkv)], 2), d_pairs, d_slopes


def through(implementation, qkv, bias, keys, gradient, heads, dropout):
  """The same by an implementation."""
  sizes = {"num_heads": heads, "dropout": dropout}
  if implementation in KERNELS:
    own = KERNELS[implementation]
    forward = functools.partial(own.forward, interpret=True, **sizes)
    backward = functools.partial(own.backward, interpret=True, **sizes)
    out = jax.jit(forward)(qkv, bias, keys)
    return out, *jax.jit(backward)(qkv, bias, keys, gradient)

  def run(qkv, pairs, slopes):
    given = bias._replace(pairs=pairs, slopes=slopes)
    if implementation == "plain":
      return attend_lib.attention_product(qkv, given, keys, **sizes)
    settings = attend_lib._Settings(heads, dropout, None)
    return attend_lib._attend(qkv, given, keys, settings)

  @jax.jit
  def both(qkv, pairs, slopes, gradient):
    out, pull = jax.vjp(run, qkv, pairs, slopes)
    return out, *pull(gradient)

  return both(qkv, bias.pairs, bias.slopes, gradient)


def assert_close(got, want, tolerance):
  assert jax.tree.structure(got) == jax.tree.structure(want)
  for one, other in zip(*map(jax.tree.leaves, (got, want)), strict=True):
    one = np.asarray(one, np.float64)
    scale = np.abs(other).max()
    np.testing.assert_allclose(one / scale, other / scale, atol=tolerance)


ODD = (("pairs",), 197, 2, 64, 0.05)  # biases, N, heads, d, dropout
GRID = (("padding", "grid"), 9, 3, 64, 0.3)
ALL = (BIASES[:3], 7, 3, 128, 0.3)
WIDE = (("pairs", "padding"), 9, 2, 80, 0.1)
LONG = (("padding", "line"), 530, 2, 64, 0.1)
NONE = ((), 5, 2, 16, 0.0)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
  "implementation,dtype,sizes",
  [
    ("plain", jnp.float32, ALL),
    ("plain", jnp.bfloat16, GRID),
    ("auto", jnp.float32, ODD),
    ("kernel", jnp.float32, ALL),
    ("kernel", jnp.float32, GRID),
    ("kernel", jnp.float32, NONE),
    ("kernel", jnp.float32, WIDE),
    ("kernel", jnp.bfloat16, ODD),
    pytest.param("kernel", jnp.bfloat16, LONG, marks=SLOW),
    pytest.param("triton", jnp.float32, ALL, marks=SLOW),
    ("triton", jnp.float32, GRID),
    ("triton", jnp.float32, NONE),
    pytest.param("triton", jnp.float32, WIDE, marks=SLOW),
    ("triton", jnp.bfloat16, ODD),
    pytest.param("triton", jnp.bfloat16, LONG, marks=SLOW),
  ],
)
def test_values_and_gradients(implementation, dtype, sizes):
  biases, length, heads, head, dropout = sizes
  qkv, bias, gradient = case(
    *biases, length=length, heads=heads, head=head, dtype=dtype
  )
  keys = None
  if dropout:
    keys = hashed_dropout.dropout_keys(jax.random.key(1), 2, heads)
  rest = qkv, bias, keys, gradient, heads, dropout
  got = through(implementation, *rest)
  assert got[0].dtype == got[1].dtype == dtype
  tolerance = 1e-5 if dtype == jnp.float32 else 2e-2
  assert_close(got, expected(*rest), tolerance)


def test_the_kernel_computes_in_float64_where_that_is_wanted():
  with jax.enable_x64(True):
    qkv, bias, gradient = case(
      *BIASES[:2], length=6, heads=1, head=128, dtype=jnp.float64
    )
    rest = qkv, bias, None, gradient, 1, 0.0
    assert_close(through("kernel", *rest), expected(*rest), 1e-12)


def on_tpu(function, *args):
  """The program that a TPU would get."""
  return jax.export.export(jax.jit(function), platforms=["tpu"])(*args)


def gradient_of(**options):
  def loss(qkv, bias):
    out = attend(qkv, bias, jax.random.key(0), num_heads=2, **options)
    return jnp.square(out).sum()

  return jax.grad(loss)


def test_a_program_has_the_kernel_of_the_platform_that_it_is_for():
  qkv, bias, _ = case("pairs", length=5, heads=2, head=64)
  # once forward and once backward
  auto = on_tpu(gradient_of(dropout=0.1), qkv, bias).mlir_module()
  assert auto.count("tpu_custom_call") == 2
  plain = on_tpu(gradient_of(implementation="plain"), qkv, bias).mlir_module()
  assert "tpu_custom_call" not in plain
  here = jax.jit(gradient_of(dropout=0.1)).lower(qkv, bias).as_text()
  assert "custom_call" not in here


@pytest.mark.parametrize(
  "sizes,dtype,reason",
  [
    ({"heads": 2, "head": 8}, jnp.float32, "of 16, not of 8"),
    ({"heads": 2, "head": 64}, jnp.float16, "not in float16"),
  ],
)
def test_what_the_kernel_cannot_do_is_said_and_done(
  sizes, dtype, reason, caplog
):
  # What other tests were told would not be said again.
  attend_lib.by_platform._log_once.cache_clear()
  qkv, bias, _ = case(length=5, **sizes, dtype=dtype)
  program = on_tpu(gradient_of(), qkv, bias).mlir_module()
  assert "tpu_custom_call" not in program
  said = [r.message for r in caplog.records if reason in r.message]
  assert len(said) == 1
  assert said[0].startswith("TPU: attention is computed by plain products: ")
  on_tpu(gradient_of(dropout=0.1), qkv, bias)
  assert len([r for r in caplog.records if reason in r.message]) == 1


def test_several_devices_without_a_mesh_are_said():
  qkv, bias, _ = case("pairs", length=5, heads=2, head=64)
  shapes = (*jax.eval_shape(lambda *x: x, qkv, bias), None)

  def chosen(mesh, devices):
    settings = attend_lib._Settings(2, 0.0, mesh)
    return attend_lib._choose("tpu", "forward", settings, shapes, devices)

  assert callable(chosen(None, 1))
  assert chosen(None, 8).endswith(
    "no mesh of the devices to split the examples over"
  )
  mesh = jax.sharding.AbstractMesh((1, 4), ("data", "fsdp"))
  assert chosen(mesh, 4).endswith("2 examples can't be split over 4 devices")


def test_long_sequences_do_not_fit():
  shape = jax.ShapeDtypeStruct((1, 20_000, 768), jnp.bfloat16)
  reason = tpu_kernel.refusal(
    shape.shape,
    shape.dtype,
    AttentionBias(),
    num_heads=4,
  )
  assert "20000 tokens need" in reason


@pytest.fixture
def kernel_here(monkeypatch):
  """The kernel, interpreted, in place of the product on CPUs."""
  for name in ("forward", "backward"):
    function = functools.partial(getattr(tpu_kernel, name), interpret=True)
    monkeypatch.setattr(tpu_kernel, name, function)
  real = attend_lib.by_platform.call

  def call(default, others, *args):
    del default
    chosen = others["tpu"](8)
    assert callable(chosen), chosen
    return chosen(*args)

  monkeypatch.setattr(attend_lib.by_platform, "call", call)
  return real


@pytest.mark.parametrize("biases", [("pairs", "padding"), ("line",)])
def test_on_eight_devices_the_numbers_are_those_of_one(biases, kernel_here):
  qkv, bias, gradient = case(*biases, length=5, heads=2, head=64, batch=16)
  mesh = jax.make_mesh(
    (2, 4), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2
  )
  options = {"num_heads": 2, "dropout": 0.3}

  def run(implementation, qkv, pairs, slopes):
    given = bias._replace(pairs=pairs, slopes=slopes)
    key = jax.random.key(0)
    return attend(qkv, given, key, implementation=implementation, **options)

  def all_of(implementation, qkv, pairs, slopes, gradient):
    f = functools.partial(run, implementation)
    out, pull = jax.vjp(f, qkv, pairs, slopes)
    return out, pull(gradient)

  args = qkv, bias.pairs, bias.slopes, gradient
  want = jax.jit(functools.partial(all_of, "plain"))(*args)
  split, whole = (NamedSharding(mesh, p) for p in (placement.EXAMPLES, P()))
  args = [
    None if x is None else jax.device_put(x, split if len(x) == 16 else whole)
    for x in args
  ]
  with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
    program = jax.jit(functools.partial(all_of, "auto")).lower(*args).compile()
  got = program(*args)
  assert got[0].sharding.is_equivalent_to(split, 3)
  # Each device has the examples that it was given: nothing is gathered.
  assert "all-gather" not in program.as_text()
  assert_close(got, jax.tree.map(np.asarray, want), 1e-5)
