"""Attention on TPUs, with all that is [N, N] in the memory of the core alone.

`tpu_program` is what it computes.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from d2v_jax.models import hashed_dropout
from d2v_jax.models.attention import tpu_program
from d2v_jax.models.attention.attention_bias import PADDED, AttentionBias
from d2v_jax.models.attention.tpu_sizes import TpuSizes

# Of the 128 MiB of a v5e or v6e; what a program asks for is less than this.
_VMEM = 112 * 2**20


def refusal(
  shape: tuple[int, ...],
  dtype: Any,
  bias: AttentionBias,
  *,
  num_heads: int,
) -> str | None:
  """Why the kernel can't compute this, in words; None if it can.

  Args:
    shape: of qkv, [B, N, 3 D].
    dtype: of qkv.
    bias: of the logits; shapes will do.
    num_heads: number of heads.
  """
  sizes = TpuSizes(shape[1], shape[2] // 3, num_heads)
  if dtype not in (jnp.bfloat16, jnp.float32):
    return f"the kernel computes in bfloat16 and float32, not in {dtype}"
  if sizes.head % 16:
    return f"the kernel needs heads of a multiple of 16, not of {sizes.head}"
  need = sizes.vmem_bytes(dtype, bias)
  if need > _VMEM:
    return f"{sizes.length} tokens need {need >> 20} MiB of the core's memory"
  return None


def forward(
  qkv: jax.Array,
  bias: AttentionBias,
  keys: jax.Array | None,
  *,
  num_heads: int,
  dropout: float,
  interpret: bool = False,
) -> jax.Array:
  """As `attention_product`; `interpret` runs it on any platform, slowly."""
  shape = TpuSizes(qkv.shape[1], qkv.shape[2] // 3, num_heads, dropout)
  call = _Call(qkv, bias, keys, shape, interpret)
  (out,) = call(
    tpu_program.forward,
    [],
    [call.rows(shape.padded, qkv.dtype)],
    passes=2,
  )
  return out[..., : shape.width]


def backward(
  qkv: jax.Array,
  bias: AttentionBias,
  keys: jax.Array | None,
  gradient: jax.Array,
  *,
  num_heads: int,
  dropout: float,
  interpret: bool = False,
) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
  """Gradients of `forward`, from that of its output [B, N, D].

  Returns:
    Of qkv, [B, N, 3 D]; of the pairs [heads, N, N] and the slopes [heads] of
    the bias, summed over the examples; None where there are none.
  """
  shape = TpuSizes(qkv.shape[1], qkv.shape[2] // 3, num_heads, dropout)
  call = _Call(qkv, bias, keys, shape, interpret)
  gradient = call.padded(gradient, 1)
  sums = []
  if bias.pairs is not None:
    sums.append(call.whole((num_heads, shape.length, shape.length)))
  if bias.slopes is not None:
    sums.append(call.whole((num_heads, shape.length)))
  outputs = [call.rows(3 * shape.padded, qkv.dtype), *sums]
  d_qkv, *d_bias = call(tpu_program.backward, [gradient], outputs, passes=5)
  kept = hashed_dropout.kept_share(call.shape.dropout)
  d_pairs = d_slopes = None
  if bias.pairs is not None:
    d_pairs = d_bias.pop(0).transpose(0, 2, 1) / kept
    d_pairs = d_pairs.astype(bias.pairs.dtype)
  if bias.slopes is not None:
    d_slopes = (-d_bias.pop(0).sum(1) / kept).astype(bias.slopes.dtype)
  return call.unpadded(d_qkv), d_pairs, d_slopes


class _Call:
  """What both kernels take, and how it is cut into the blocks of a program."""

  def __init__(self, qkv, bias, keys, shape, interpret):
    if keys is None:
      shape = dataclasses.replace(shape, dropout=0.0)
    self.shape, self.interpret = shape, interpret
    self.batch, self.dtype = len(qkv), qkv.dtype
    self.statistics = jnp.promote_types(qkv.dtype, jnp.float32)
    inputs = {}
    if shape.dropout:
      inputs["keys"] = keys.reshape(-1), _smem()
    if bias.slopes is not None:
      inputs["slopes"] = bias.slopes.astype(self.statistics), _smem()
      places = bias.coordinates.astype(self.statistics)  # [B or 1, C, N]
      inputs["coordinates"] = places, self._block(places)
    if bias.padding is not None:
      hidden = jnp.where(bias.padding[:, None], PADDED, 0.0)  # [B, 1, N]
      hidden = hidden.astype(self.statistics)
      inputs["padding"] = hidden, self._block(hidden)
    if bias.pairs is not None:
      pairs = bias.pairs.transpose(0, 2, 1).astype(self.statistics)
      # All examples have the same: no other one has to arrive meanwhile.
      once = pl.BlockSpec(
        pairs.shape, lambda b: (0, 0, 0), pipeline_mode=pl.Buffered(1)
      )
      inputs["pairs"] = pairs, once
    qkv = self.padded(qkv, 3)
    inputs["qkv"] = qkv, self._block(qkv)
    self.inputs, self.bias = inputs, bias

  def __call__(self, kernel, more, outputs, passes):
    shape, length = self.shape, self.shape.length
    arrays, specs = zip(*self.inputs.values(), strict=True)
    scratch = {}
    if "slopes" in self.inputs:
      scratch["distance"] = pltpu.VMEM((length, length), self.statistics)
    if kernel is tpu_program.backward:
      for name in ("d_key", "d_value"):
        scratch[name] = pltpu.VMEM((length, shape.group), self.statistics)
    shapes, blocks = zip(*outputs, strict=True)
    products = 2 * self.batch * shape.num_heads * length**2
    arrays = (*arrays, *more)
    moved = sum(a.size * a.dtype.itemsize for a in (*arrays, *shapes))
    return pl.pallas_call(
      functools.partial(
        _named,
        kernel,
        (*self.inputs, *(["gradient"] if more else [])),
        len(outputs),
        tuple(scratch),
        shape,
      ),
      grid=(self.batch,),
      in_specs=[*specs, *map(self._block, more)],
      out_specs=list(blocks),
      out_shape=list(shapes),
      scratch_shapes=list(scratch.values()),
      interpret=self.interpret,
      compiler_params=pltpu.CompilerParams(
        # Sums over the examples go round by round into the same block.
        dimension_semantics=("arbitrary" if len(outputs) > 1 else "parallel",),
        vmem_limit_bytes=min(
          _VMEM, shape.vmem_bytes(self.dtype, self.bias) + 2**24
        ),
      ),
      cost_estimate=pl.CostEstimate(
        flops=passes * products * shape.head,
        transcendentals=products // 2,
        bytes_accessed=moved,
      ),
      name=f"attention_{kernel.__name__}",
    )(*arrays)

  def rows(self, width, dtype):
    """Shape and block of an output [B, N, width]."""
    made = jax.ShapeDtypeStruct((self.batch, self.shape.length, width), dtype)
    return made, self._block(made)

  def whole(self, sizes):
    """Shape and block of a sum over the examples."""
    made = jax.ShapeDtypeStruct(sizes, self.statistics)
    return made, self._block(made, whole=True)

  def padded(self, x, parts):
    """[B, N, parts D], each part padded to a multiple of 128."""
    more = self.shape.padded - self.shape.width
    if not more:
      return x
    x = x.reshape(*x.shape[:2], parts, self.shape.width)
    x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, more)))
    return x.reshape(*x.shape[:2], -1)

  def unpadded(self, x):
    """The opposite of `padded`, of three parts."""
    if self.shape.padded == self.shape.width:
      return x
    x = x.reshape(*x.shape[:2], 3, self.shape.padded)[..., : self.shape.width]
    return x.reshape(*x.shape[:2], -1)

  def _block(self, x, whole=False):
    if whole:
      return pl.BlockSpec(x.shape, lambda b: (0,) * len(x.shape))
    one = len(x.shape) - 1
    if x.shape[0] == 1:
      return pl.BlockSpec((1, *x.shape[1:]), lambda b: (0,) * (one + 1))
    return pl.BlockSpec((1, *x.shape[1:]), lambda b: (b, *(0,) * one))


def _smem():
  return pl.BlockSpec(memory_space=pltpu.SMEM)


def _named(kernel, inputs, num_outputs, scratch, shape, *refs):
  """Calls a kernel with its references by name."""
  split = len(inputs), len(inputs) + num_outputs
  named = dict(zip(inputs, refs[: split[0]], strict=True))
  named |= dict(zip(scratch, refs[split[1] :], strict=True))
  # Asked for here, since interpreted loops can't.
  named["example"] = pl.program_id(0)
  kernel(shape, named, *refs[split[0] : split[1]])
