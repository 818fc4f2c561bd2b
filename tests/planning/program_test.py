"""The parser of programs, on lines that compilers print."""

import jax
import jax.numpy as jnp
import pytest

from d2v_jax.planning import program
from d2v_jax.planning.program import Array

TEXT = """\
HloModule jit_f, is_scheduled=true, entry_computation_layout={(f32[8]{0})->()}

%fused (param_0: f32[8,128], param_1: s32[]) -> f32[1,128] {
  %param_0 = f32[8,128]{1,0:T(8,128)} parameter(0)
  %param_1 = s32[]{:T(128)} parameter(1)
  %zero = s32[]{:T(128)} constant(0)
  ROOT %slice.1 = f32[1,128]{1,0:T(1,128)S(1)} dynamic-slice(%param_0, \
%param_1, %zero), dynamic_slice_sizes={1,128}
}

ENTRY %main.7 (x.1: f32[8,128]) -> (f32[1,128], pred[]) {
  %x.1 = f32[8,128]{1,0:T(8,128)} parameter(0), metadata={op_name="x"}
  %n = s32[] constant(3)
  %fusion.2 = f32[1,128]{1,0:T(1,128)S(1)} fusion(%x.1, /*index=1*/%n), \
kind=kLoop, calls=%fused, metadata={op_name="jit(f)/while/body/slice"}, \
backend_config={"estimated_cycles":"77"}
  %yes = pred[]{:T(512)} custom-call(), custom_call_target="__cublas$gemm"
  ROOT %tuple = (f32[1,128]{1,0}, pred[]) tuple(%fusion.2, %yes)
}
"""


@pytest.fixture
def parsed():
  return program.parse(TEXT)


def test_arrays():
  found = program.arrays_of(
    "(bf16[2,3]{1,0:T(8,128)(2,1)S(1)}, pred[7]{0}, u32[], s4[6]{0}, token[])"
  )
  assert found == (
    Array("bf16", (2, 3), near=True),
    Array("pred", (7,)),
    Array("u32", ()),
    Array("s4", (6,)),
    Array("token", ()),
  )
  assert [a.num_bytes for a in found] == [12, 7, 4, 3, 0]
  assert [a.far_bytes for a in found] == [0, 7, 4, 3, 0]
  assert Array("f8e4m3fn", (5,)).num_bytes == 5


def test_computations(parsed):
  assert list(parsed.computations) == ["fused", "main.7"]
  assert parsed.entry == "main.7"
  fused = parsed.computations["fused"]
  assert fused.root.op == "dynamic-slice"
  assert fused.parameters[1].name == "param_1"
  assert [i.name for i in fused.users["param_0"]] == ["slice.1"]
  assert parsed.computations["main.7"].root.op == "tuple"


def test_an_instruction(parsed):
  entry = parsed.computations["main.7"]
  fusion = entry.instructions["fusion.2"]
  assert fusion.op == "fusion"
  assert fusion.arrays == (Array("f32", (1, 128), near=True),)
  assert fusion.operands == ("x.1", "n")
  assert fusion.place == "jit(f)/while/body/slice"
  assert parsed.called(fusion) is parsed.computations["fused"]
  assert [i.op for i in entry.operands(fusion)] == ["parameter", "constant"]
  assert entry.instructions["n"].literal == "3"
  target = entry.instructions["yes"].attribute("custom_call_target")
  assert target == "__cublas$gemm"


def test_what_a_compiler_prints_here():
  text = jax.jit(jnp.dot).lower(jnp.ones((2, 3)), jnp.ones((3, 4))).compile()
  parsed = program.parse(text.as_text())
  entry = parsed.computations[parsed.entry]
  assert sorted(i.arrays[0].dims for i in entry if i.op == "parameter") == [
    (2, 3),
    (3, 4),
  ]


def test_no_program():
  with pytest.raises(ValueError, match="no HLO program: it has no ENTRY"):
    program.parse("module @jit_f { }")
