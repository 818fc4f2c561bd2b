"""Where the arrays of a sharded step live, as the network says it.

A step is traced under a mesh of two axes. Examples are split over both, so that
each device computes on its own ones; parameters are split over `fsdp` alone,
and gathered for one product at a time. Without a mesh nothing happens here.

Source: fully sharded data parallelism; Rajbhandari et al. 2020, ZeRO (arXiv
1910.02054), stage 3.
"""

import jax
from jax.sharding import PartitionSpec as P

DATA, FSDP = "data", "fsdp"
# The axis of examples.
EXAMPLES = P((DATA, FSDP))

# Smaller arrays cost more to gather than they save.
_MIN_SPLIT_SIZE = 2**14


def parameter_spec(shape: tuple[int, ...], shards: int) -> P:
  """How a parameter of one layer is split over the axis `fsdp`.

  Args:
    shape: of the parameter, without the axis of stacked layers.
    shards: devices along that axis.

  Returns:
    Its largest axis that divides; P() for small ones, and where none does.
  """
  size = 1
  for n in shape:
    size *= n
  if shards > 1 and size >= _MIN_SPLIT_SIZE:
    for axis in sorted(range(len(shape)), key=lambda i: -shape[i]):
      if shape[axis] % shards == 0:
        return P(*[None] * axis, FSDP)
  return P()


def by_example(x: jax.Array) -> jax.Array:
  """x [B, ...], each device with its own examples alone."""
  return _constrained(x, EXAMPLES)


def whole(x: jax.Array) -> jax.Array:
  """x, all of it on every device."""
  return _constrained(x, P())


def as_parameter(x: jax.Array) -> jax.Array:
  """x, split as a parameter of this shape is: for its gradient."""
  shards = jax.sharding.get_abstract_mesh().shape.get(FSDP, 1)
  return _constrained(x, parameter_spec(x.shape, shards))


def _constrained(x, spec):
  if jax.sharding.get_abstract_mesh().size <= 1:
    return x
  return jax.lax.with_sharding_constraint(x, spec)
