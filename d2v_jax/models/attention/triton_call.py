"""What attention's kernels for NVIDIA's GPUs are given, and in which blocks."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plt

from d2v_jax.models.attention import triton_program as program
from d2v_jax.models.attention.attention_bias import PADDED
from d2v_jax.models.attention.triton_program import LOG2_E, GpuSizes, Tiles

# Tiles are parts of it: what has an axis of tokens is padded to a multiple.
_WHOLE = 128

# Programs that keep all of a GPU's processors busy.
_BUSY = 512


def tiles(kernel: str, dtype: Any, lanes: int) -> Tiles:
  """How a kernel of the program is cut.

  Of what was tried on an H100 these were the fastest, see docs/speed.md.

  Args:
    kernel: its name.
    dtype: of its inputs. Products in float32 need more registers.
    lanes: width of a head in memory.
  """
  if dtype == jnp.float32:
    return Tiles(32, 32, 4, 2)
  warps = 8 if lanes > 64 else 4
  return {
    "forward": Tiles(64, 128, 8, 2),
    "backward_keys": Tiles(32, 64, warps, 2),
    "backward_queries": Tiles(64, 64, warps, 2),
    "backward_pairs": Tiles(64, 32, warps, 2),
  }[kernel]


class Call:
  """What all kernels take, and how it is cut into blocks."""

  def __init__(self, qkv, bias, keys, num_heads, dropout, interpret):
    self.batch, length, width = qkv.shape
    head = width // 3 // num_heads
    lanes = max(16, pl.next_power_of_2(head))
    rate = 0.0 if keys is None else dropout
    self.sizes = GpuSizes(length, num_heads, head, lanes, rate)
    self.whole = pl.cdiv(length, _WHOLE) * _WHOLE  # M
    self.bias, self.keys, self.interpret = bias, keys, interpret
    self.qkv = self.padded(qkv, 3)
    self.pairs = self.padding = self.slopes = self.coordinates = None
    if bias.pairs is not None:
      pairs = bias.pairs.astype(jnp.float32) * LOG2_E
      self.pairs = self._to_whole(self._to_whole(pairs, 1), 2)
    if bias.padding is not None:
      hidden = jnp.where(bias.padding, PADDED * LOG2_E, 0.0)
      self.padding = self._to_whole(hidden.astype(jnp.float32), 1)
    if bias.slopes is not None:
      self.slopes = bias.slopes.astype(jnp.float32) * LOG2_E
      places = bias.coordinates.astype(jnp.int32)
      self.coordinates = self._to_whole(places, 2)

  def forward(self):
    """Output [B, N, heads lanes], and sums [B, heads, M] of which N count."""
    cut = self._tiles(program.forward)
    width = self.sizes.num_heads * self.sizes.lanes
    return self._run(
      program.forward,
      cut,
      self.inputs(),
      [
        (
          jax.ShapeDtypeStruct(
            (self.batch, self.sizes.length, width), self.qkv.dtype
          ),
          self._columns(1),
        ),
        self._statistics(),
      ],
      pl.cdiv(self.sizes.length, cut.queries),
      products=2,
    )

  def backward_inputs(self, out, sums, gradient):
    """`inputs`, and what the backward pass has more."""
    gradient = self.padded(gradient, 1)
    # No weight of a query beyond N.
    sums = self._to_whole(sums[:, :, : self.sizes.length], 2, jnp.inf)
    return self.inputs() | {
      "gradient": (gradient, self._columns(1)),
      "sums": (sums, self._statistics()[1]),
      "deltas": (self._deltas(out, gradient), self._statistics()[1]),
    }

  def d_keys(self, inputs):
    """[B, N, 3 heads lanes] with the gradients of the keys and values."""
    cut = self._tiles(program.backward_keys)
    if self.pairs is not None:
      turned = self.pairs.transpose(0, 2, 1), inputs["pairs"][1]
      inputs = inputs | {"pairs": turned}
    (d_qkv,) = self._run(
      program.backward_keys,
      cut,
      inputs,
      [self._d_qkv()],
      pl.cdiv(self.sizes.length, cut.keys),
      products=4,
      repeated=1,
      unwritten=_bytes(self.qkv) // 3,
    )
    return d_qkv

  def d_queries(self, inputs, d_qkv):
    """The same with those of the queries; and of the slopes [heads], if any."""
    cut = self._tiles(program.backward_queries)
    outputs = [self._d_qkv()]
    if self.slopes is not None:
      outputs.append(self._statistics())
    d_qkv, *far = self._run(
      program.backward_queries,
      cut,
      inputs,
      outputs,
      pl.cdiv(self.sizes.length, cut.queries),
      into=d_qkv,
      products=3,
      repeated=2,
      unwritten=2 * _bytes(self.qkv) // 3,
    )
    if not far:
      return d_qkv, None
    far = far[0][:, :, : self.sizes.length]
    d_slopes = -far.sum((0, 2)) / self.sizes.kept_share
    return d_qkv, d_slopes.astype(self.bias.slopes.dtype)

  def d_pairs(self, inputs):
    """Gradients of the pairs [heads, N, N], if any."""
    if self.pairs is None:
      return None
    cut, length = self._tiles(program.backward_pairs), self.sizes.length
    count = pl.cdiv(length, cut.queries) * pl.cdiv(length, cut.keys)
    parts = 1
    while (
      self.batch % (2 * parts) == 0
      and parts * count * self.sizes.num_heads < _BUSY
    ):
      parts *= 2
    square = (parts, self.sizes.num_heads, self.whole, self.whole)
    (sums,) = self._run(
      program.backward_pairs,
      cut,
      inputs,
      [
        (
          jax.ShapeDtypeStruct(square, jnp.float32),
          lambda each: pl.BlockSpec(
            (1, None, *square[2:]), lambda t, h, b: (b, h, 0, 0)
          ),
        )
      ],
      count,
      each=self.batch // parts,
      products=2,
      repeated=2,
    )
    d_pairs = sums.sum(0)[:, :length, :length] / self.sizes.kept_share
    return d_pairs.astype(self.bias.pairs.dtype)

  def _deltas(self, out, gradient):
    """Per query and head the product of output and gradient, [B, heads, M]."""
    sizes = self.sizes
    both = out.astype(jnp.float32) * gradient.astype(jnp.float32)
    both = both.reshape(self.batch, sizes.length, sizes.num_heads, sizes.lanes)
    deltas = both.sum(3) * sizes.kept_share
    return self._to_whole(deltas.transpose(0, 2, 1), 2)

  def inputs(self):
    """Name -> array, and a function from examples in a block to its spec."""
    heads = self.sizes.num_heads
    inputs = {
      "query": (self.qkv, self._columns(1)),
      "key": (self.qkv, self._columns(1, heads)),
      "value": (self.qkv, self._columns(1, 2 * heads)),
    }
    if self.sizes.dropout:
      inputs["dropout"] = self.keys, self._examples(self.keys)
    if self.pairs is not None:
      inputs["pairs"] = (
        self.pairs,
        lambda each: pl.BlockSpec(
          (None, self.whole, self.whole), lambda t, h, b: (h, 0, 0)
        ),
      )
    if self.padding is not None:
      inputs["padding"] = self.padding, self._examples(self.padding)
    if self.slopes is not None:
      inputs["coordinates"] = (
        self.coordinates,
        self._examples(self.coordinates),
      )
      inputs["slopes"] = (
        self.slopes,
        lambda each: pl.BlockSpec((1,), lambda t, h, b: (h,)),
      )
    return inputs

  def _run(
    self,
    kernel,
    cut,
    inputs,
    outputs,
    count,
    *,
    each=1,
    into=None,
    products,
    repeated=0,
    unwritten=0,
  ):
    """Runs `count` programs for each head and `each` examples.

    Args:
      kernel: of the program.
      cut: its tiles.
      inputs: see `inputs`.
      outputs: shapes and dtypes, and functions to their specs.
      count: of programs for each head and block of examples.
      each: examples of a block.
      into: what becomes the first output, of which only a part is written.
      products: of two matrices, that the kernel makes of each pair of tokens.
      repeated: those of them that another kernel makes, too.
      unwritten: bytes of the outputs that are not written.
    """
    sizes = self.sizes
    arrays = [array for array, _ in inputs.values()]
    specs = [spec(each) for _, spec in inputs.values()]
    made = [array for array, _ in outputs]
    pairs = self.batch * sizes.num_heads * sizes.length**2
    # The same array may be given more than once.
    moved = sum(_bytes(a) for a in {id(a): a for a in arrays}.values())
    moved += sum(map(_bytes, made))
    stated = {
      "flops": 2 * products * pairs * sizes.head,
      "repeated": 2 * repeated * pairs * sizes.head,
      "transcendentals": pairs,
      "moved": moved - unwritten,
    }
    if into is not None:
      arrays.append(into)
      specs.append(pl.BlockSpec(memory_space=pl.ANY))
    return pl.pallas_call(
      functools.partial(_named, kernel, tuple(inputs), sizes, cut, into),
      grid=(count, sizes.num_heads, self.batch // each),
      in_specs=specs,
      out_specs=[spec(1) for _, spec in outputs],
      out_shape=made,
      input_output_aliases={} if into is None else {len(inputs): 0},
      interpret=self.interpret,
      compiler_params=plt.CompilerParams(
        num_warps=cut.warps, num_stages=cut.stages
      ),
      # For `d2v plan`: where Triton compiles, cost_estimate is not kept.
      metadata={name: str(number) for name, number in stated.items()},
      name=f"attention_{kernel.__name__}",
    )(*arrays)

  def _tiles(self, kernel):
    return tiles(kernel.__name__, self.qkv.dtype, self.sizes.lanes)

  def _columns(self, parts, first=0):
    """Blocks of one head of [B, N, parts heads lanes]."""
    block = (self.sizes.length, self.sizes.lanes)
    return lambda each: pl.BlockSpec(
      (each, *block), lambda t, h, b: (b, 0, first + h)
    )

  def _examples(self, x):
    """Blocks of all that examples have; those of B = 1 are of all."""
    rest = (0,) * (x.ndim - 1)
    if len(x) == 1 < self.batch:
      return lambda each: pl.BlockSpec(x.shape, lambda t, h, b: (0, *rest))
    return lambda each: pl.BlockSpec(
      (each, *x.shape[1:]), lambda t, h, b: (b, *rest)
    )

  def _statistics(self):
    """Numbers of queries, float32 [B, heads, M], and their blocks."""
    shape = (self.batch, self.sizes.num_heads, self.whole)
    return jax.ShapeDtypeStruct(shape, jnp.float32), lambda each: pl.BlockSpec(
      (each, None, self.whole), lambda t, h, b: (b, h, 0)
    )

  def _d_qkv(self):
    """As qkv, and blocks of whole examples."""
    made = jax.ShapeDtypeStruct(self.qkv.shape, self.qkv.dtype)
    return made, lambda each: pl.BlockSpec(
      (each, *made.shape[1:]), lambda t, h, b: (b, 0, 0)
    )

  def _to_whole(self, x, axis, value=0):
    more = [(0, 0)] * x.ndim
    more[axis] = 0, self.whole - x.shape[axis]
    return jnp.pad(x, more, constant_values=value)

  def padded(self, x, parts):
    """[B, N, parts heads d] with heads of a power of 2."""
    sizes = self.sizes
    if sizes.lanes == sizes.head:
      return x
    x = x.reshape(*x.shape[:2], parts * sizes.num_heads, sizes.head)
    more = sizes.lanes - sizes.head
    x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, more)))
    return x.reshape(*x.shape[:2], -1)

  def unpadded(self, x, parts):
    """The opposite."""
    sizes = self.sizes
    if sizes.lanes == sizes.head:
      return x
    x = x.reshape(*x.shape[:2], parts * sizes.num_heads, sizes.lanes)
    return x[..., : sizes.head].reshape(*x.shape[:2], -1)


def _bytes(x):
  return x.size * x.dtype.itemsize


def _named(kernel, names, sizes, cut, into, *refs):
  """Calls a kernel with its inputs by name."""
  named = dict(zip(names, refs, strict=False))
  # What is written into is an input that is an output, too.
  outputs = refs[len(names) + (into is not None) :]
  kernel(sizes, cut, named, *outputs)
