"""What programs cost: loops, branches, collectives and kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from d2v_jax.planning import costs, program
from d2v_jax.training.sharding import make_mesh

LOOP = """\
%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%shared (x: bf16[8,128]) -> bf16[2,128] {
  %x = bf16[8,128]{1,0} parameter(0)
  %reduced = bf16[8,128]{1,0} all-reduce(%x), channel_id=3, to_apply=%add
  %zero = s32[] constant(0)
  ROOT %mine = bf16[2,128]{1,0} dynamic-slice(%reduced, %zero, %zero)
}

%first (y: f32[4]) -> f32[16] {
  %y = f32[4]{0} parameter(0)
  ROOT %gathered = f32[16]{0} all-gather(%y), channel_id=4, dimensions={0}
}

%second (z: f32[4]) -> f32[16] {
  %z = f32[4]{0} parameter(0)
  ROOT %again = f32[16]{0} all-gather(%z), channel_id=4, dimensions={0}
}

%body (t: (s32[], bf16[8,128])) -> (s32[], bf16[8,128]) {
  %t = (s32[], bf16[8,128]{1,0}) parameter(0)
  %n = s32[] get-tuple-element(%t), index=0
  %v = bf16[8,128]{1,0} get-tuple-element(%t), index=1
  %w = bf16[8,128]{1,0} exponential(%v), metadata={op_name=\
"jit(f)/checkpoint/rematted_computation/exp"}, \
backend_config={"estimated_cycles":"100"}
  %share = bf16[2,128]{1,0} fusion(%w), kind=kCustom, calls=%shared
  %g = f32[4]{0} constant({0, 1, 2, 3})
  %async_1 = f32[16]{0} fusion(%g), kind=kCustom, calls=%first
  %async_2 = f32[16]{0} fusion(%g), kind=kCustom, calls=%second
  ROOT %tuple = (s32[], bf16[8,128]{1,0}) tuple(%n, %w)
}

%condition (c: (s32[], bf16[8,128])) -> pred[] {
  %c = (s32[], bf16[8,128]{1,0}) parameter(0)
  %k = s32[] get-tuple-element(%c), index=0
  %bound = s32[] constant(12)
  ROOT %less = pred[] compare(%k, %bound), direction=LT
}

ENTRY %main (p: (s32[], bf16[8,128])) -> (s32[], bf16[8,128]) {
  %p = (s32[], bf16[8,128]{1,0}) parameter(0)
  %sent = f32[6]{0} constant({0, 1, 2, 3, 4, 5})
  %begin = (f32[6]{0}, f32[6]{0}, u32[], u32[]) \
collective-permute-start(%sent), channel_id=9
  %end = f32[6]{0} collective-permute-done(%begin)
  ROOT %loop = (s32[], bf16[8,128]{1,0}) while(%p), condition=%condition, \
body=%body
}
"""


def of(function, *args):
  text = jax.jit(function).lower(*args).compile().as_text()
  return costs.costs(program.parse(text))


def operations(found):
  return sum(cost.times * cost.operations for cost in found)


class TestALoop:
  @pytest.fixture
  def found(self):
    return costs.costs(program.parse(LOOP))

  def test_its_bound_is_read_in_its_condition(self, found):
    (w,) = (c for c in found if c.instruction.name == "w")
    assert (w.times, w.cycles, w.moved) == (12, 100, 2 * 8 * 128 * 2)

  def test_a_known_number_of_rounds_goes_before(self):
    known = 'body=%body, backend_config={"known_trip_count":{"n":"5"}}'
    found = costs.costs(program.parse(LOOP.replace("body=%body", known)))
    assert {c.times for c in found if c.instruction.name == "w"} == {5}

  def test_collectives(self, found):
    # A sum of which a share is kept; a gathering in two parts; both 12 times.
    assert costs.collective_bytes(found) == {
      "reduce-scatter": 12 * 2 * 128 * 2,
      "all-gather": 12 * 16 * 4,
      "collective-permute": 6 * 4,
    }
    beside = {c.collective for c in found if c.overlaps}
    assert beside == {"all-gather", "collective-permute"}


def test_products_under_a_scan():
  x, layers = jnp.ones((8, 16)), jnp.ones((7, 16, 16))

  def f(x, layers):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, layers)[0]

  forward = 7 * 2 * 8 * 16 * 16
  assert operations(of(f, x, layers)) == forward
  # Of the gradients, that of the input is a chain and that of the weights one
  # product more for each layer.
  grad = jax.grad(lambda *args: f(*args).sum(), argnums=(0, 1))
  assert operations(of(grad, x, layers)) == 3 * forward


def test_what_is_recomputed():
  x, layers = jnp.ones((8, 16)), jnp.ones((7, 16, 16))

  def f(x, layers):
    body = jax.checkpoint(lambda x, w: (jnp.tanh(jnp.tanh(x @ w) @ w), None))
    return jax.lax.scan(body, x, layers)[0].sum()

  found = of(jax.grad(f, argnums=1), x, layers)
  again = sum(cost.times * cost.repeated for cost in found)
  once = 7 * 2 * 8 * 16 * 16
  # The gradient has four products for the two of a layer, whose results it
  # needs once more.
  assert again == 2 * once
  assert operations(found) - again == 6 * once


def test_the_larger_branch_counts():
  x = jnp.ones((32, 32))

  def f(x, yes):
    return jax.lax.cond(yes, lambda x: x @ x @ x, lambda x: x @ x, x)

  assert operations(of(f, x, True)) == 2 * 2 * 32**3


def test_the_sum_of_gradients_on_several_devices():
  mesh = make_mesh(4)
  whole, split = (NamedSharding(mesh, P(*x)) for x in ((), ("data",)))
  w = jax.ShapeDtypeStruct((16, 16), np.float32, sharding=whole)
  x = jax.ShapeDtypeStruct((8, 16), np.float32, sharding=split)
  step = jax.jit(
    jax.grad(lambda w, x: jnp.tanh(x @ w).sum()), out_shardings=whole
  )
  text = step.lower(w, x).compile().as_text()
  found = costs.costs(program.parse(text))
  assert costs.collective_bytes(found) == {"all-reduce": 16 * 16 * 4}
  # Two rows on each device: the product, and that of the gradient.
  assert operations(found) == 2 * 2 * 2 * 16 * 16
