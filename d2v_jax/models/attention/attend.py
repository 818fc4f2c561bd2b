"""Attention by the implementation that its platform has."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

from d2v_jax.models import hashed_dropout
from d2v_jax.models.attention.attention_bias import AttentionBias
from d2v_jax.models.attention.product import attention_product
from d2v_jax.models.hardware import by_platform, placement

# 'auto' is what the platform has: a kernel on TPUs and one on NVIDIA's GPUs,
# and elsewhere the product.
IMPLEMENTATIONS = ("auto", "plain")

# The axes of a mesh that examples are split over.
_AXES = (placement.DATA, placement.FSDP)


class _Settings(NamedTuple):
  num_heads: int
  dropout: float
  mesh: AbstractMesh | None


def attend(
  qkv: jax.Array,
  bias: AttentionBias,
  rng: jax.Array | None,
  *,
  num_heads: int,
  dropout: float = 0.0,
  implementation: str = "auto",
) -> jax.Array:
  """Softmax(Q K^T / sqrt(d) + bias) V of each head.

  The backward pass computes the [N, N] weights again: they are not kept.

  Args:
    qkv: [B, N, 3 D]: queries, keys and values, each head by head.
    bias: of the logits; the pairs and the slopes have gradients.
    rng: key of the dropout of weights; None for none.
    num_heads: number of heads.
    dropout: rate.
    implementation: one of `IMPLEMENTATIONS`.

  Returns:
    [B, N, D] in the dtype of qkv.
  """
  keys = None
  if rng is not None and hashed_dropout.dropped_levels(dropout):
    keys = hashed_dropout.dropout_keys(rng, len(qkv), num_heads)
  if implementation == "plain":
    return attention_product(
      qkv, bias, keys, num_heads=num_heads, dropout=dropout
    )
  return _attend(qkv, bias, keys, _Settings(num_heads, dropout, _mesh()))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _attend(qkv, bias, keys, settings):
  product = functools.partial(attention_product, **_sizes(settings))
  others = _others("forward", settings, qkv, bias, keys)
  return by_platform.call(product, others, qkv, bias, keys)


def _attend_forward(qkv, bias, keys, settings):
  return _attend(qkv, bias, keys, settings), (qkv, bias, keys)


def _attend_backward(settings, kept, gradient):
  others = _others("backward", settings, *kept, gradient)
  default = functools.partial(_product_gradients, settings)
  d_qkv, d_pairs, d_slopes = by_platform.call(default, others, *kept, gradient)
  return d_qkv, AttentionBias(pairs=d_pairs, slopes=d_slopes), None


_attend.defvjp(_attend_forward, _attend_backward)


def _product_gradients(settings, qkv, bias, keys, gradient):
  def product(qkv, pairs, slopes):
    given = bias._replace(pairs=pairs, slopes=slopes)
    return attention_product(qkv, given, keys, **_sizes(settings))

  # So marked, the repeated products are told from those of the definition.
  product = jax.checkpoint(product, prevent_cse=False)
  return jax.vjp(product, qkv, bias.pairs, bias.slopes)[1](gradient)


def _sizes(settings):
  return {"num_heads": settings.num_heads, "dropout": settings.dropout}


def _others(
  name: str, settings: _Settings, *args: Any
) -> dict[str, by_platform.Choice]:
  """How the forward or backward pass of each platform is found."""
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), args)
  return {
    platform: functools.partial(_choose, platform, name, settings, shapes)
    for platform in by_platform.PLATFORMS
  }


def _choose(
  platform: str,
  name: str,
  settings: _Settings,
  shapes: tuple[Any, ...],
  num_devices: int,
) -> by_platform.Function | str:
  qkv, bias, keys, *_ = shapes
  sizes = _sizes(settings)
  if keys is None:
    sizes["dropout"] = 0.0
  # Here, since Pallas takes a while to import, and few need it.
  own: Any
  if platform == "tpu":
    from d2v_jax.models.attention import tpu_kernel as own
  else:
    from d2v_jax.models.attention import triton_kernel as own
  reason = _unsplit(settings.mesh, num_devices, qkv.shape[0])
  reason = reason or own.refusal(
    qkv.shape, qkv.dtype, bias, num_heads=settings.num_heads
  )
  if reason:
    return f"attention is computed by plain products: {reason}"
  kernel = functools.partial(getattr(own, name), **sizes)
  return _split(kernel, name, settings.mesh, bias, keys is not None)


def _unsplit(
  mesh: AbstractMesh | None, num_devices: int, batch: int
) -> str | None:
  """Why examples can't be split over the devices, in words."""
  split = 1 if mesh is None else mesh.size
  if split != num_devices > 1:
    return "there is no mesh of the devices to split the examples over"
  if batch % split:
    return f"{batch} examples can't be split over {split} devices"
  return None


def _split(
  kernel: Callable[..., Any],
  name: str,
  mesh: AbstractMesh | None,
  bias: AttentionBias,
  dropout: bool,
) -> Callable[..., Any]:
  """The kernel on the examples of each device."""
  if mesh is None:
    return kernel
  examples, whole = placement.EXAMPLES, P()
  specs: dict[str, Any] = {}
  for field, array in bias._asdict().items():
    # Coordinates may be the same for all examples.
    shared = field in ("pairs", "slopes")
    if field == "coordinates":
      shared = array is None or array.shape[0] == 1
    if array is not None:
      specs[field] = whole if shared else examples
  inputs = (examples, AttentionBias(**specs), examples if dropout else None)
  shard = functools.partial(
    jax.shard_map, mesh=mesh, axis_names=set(_AXES), check_vma=False
  )
  if name == "forward":
    return shard(kernel, in_specs=inputs, out_specs=examples)

  def summed(*args):
    d_qkv, *sums = kernel(*args)
    return d_qkv, *jax.lax.psum(sums, _AXES)

  return shard(
    summed,
    in_specs=(*inputs, examples),
    out_specs=(examples, specs.get("pairs"), specs.get("slopes")),
  )


def _mesh() -> AbstractMesh | None:
  """The mesh of the context, if it has the examples' axes to split over."""
  mesh = jax.sharding.get_abstract_mesh()
  automatic = all(kind == AxisType.Auto for kind in mesh.axis_types)
  if mesh.axis_names == _AXES and automatic and mesh.size > 1:
    return mesh
  return None
