"""Bytes that instructions move, counted by hand."""

import pytest

from d2v_jax.planning import program, traffic

# A layer's slice is taken of a stack, doubled and put into another stack.
TEXT = """\
%layer (stack: f32[12,8,128], at: s32[], made: f32[12,8,128]) -> f32[12,8,128] {
  %stack = f32[12,8,128]{2,1,0} parameter(0)
  %at = s32[] parameter(1)
  %made = f32[12,8,128]{2,1,0} parameter(2)
  %zero = s32[] constant(0)
  %view = f32[12,8,128]{2,1,0} bitcast(%stack)
  %one = f32[1,8,128]{2,1,0} dynamic-slice(%view, %at, %zero, %zero)
  %twice = f32[1,8,128]{2,1,0} add(%one, %one)
  ROOT %put = f32[12,8,128]{2,1,0} dynamic-update-slice(%made, %twice, %at, \
%zero, %zero)
}

%inner (a: f32[12,8,128], b: s32[]) -> f32[8,128] {
  %a = f32[12,8,128]{2,1,0} parameter(0)
  %b = s32[] parameter(1)
  %c = s32[] constant(0)
  %part = f32[1,8,128]{2,1,0} dynamic-slice(%a, %b, %c, %c)
  ROOT %flat = f32[8,128]{1,0} bitcast(%part)
}

%nested (x: f32[12,8,128], y: s32[]) -> (f32[8,128], f32[8,128]) {
  %x = f32[12,8,128]{2,1,0} parameter(0)
  %y = s32[] parameter(1)
  %sliced = f32[8,128]{1,0} fusion(%x, %y), kind=kLoop, calls=%inner
  %sum = f32[8,128]{1,0} add(%sliced, %sliced)
  ROOT %both = (f32[8,128]{1,0}, f32[8,128]{1,0}) tuple(%sliced, %sum)
}

%whole (u: f32[12,8,128]) -> f32[12,8,128] {
  %u = f32[12,8,128]{2,1,0} parameter(0)
  ROOT %negative = f32[12,8,128]{2,1,0} negate(%u)
}

ENTRY %main (p: f32[12,8,128], i: s32[], q: f32[12,8,128]) -> f32[12,8,128] {
  %p = f32[12,8,128]{2,1,0} parameter(0)
  %i = s32[] parameter(1)
  %q = f32[12,8,128]{2,1,0} parameter(2)
  %near = f32[12,8,128]{2,1,0:S(1)} parameter(3)
  %row = f32[1,8,128]{2,1,0} parameter(4)
  %layers = f32[12,8,128]{2,1,0} fusion(%p, %i, %q), kind=kLoop, calls=%layer
  %begun = ((f32[12,8,128], s32[], f32[12,8,128]), f32[12,8,128], u32[]) \
fusion-start(%p, %i, %q), kind=kLoop, calls=%layer
  %ended = f32[12,8,128]{2,1,0} fusion-done(%begun)
  %two = (f32[8,128]{1,0}, f32[8,128]{1,0}) fusion(%p, %i), calls=%nested
  %all = f32[12,8,128]{2,1,0} fusion(%p), kind=kLoop, calls=%whole
  %kept = f32[12,8,128]{2,1,0:S(1)} fusion(%near), kind=kLoop, calls=%whole
  %taken = f32[1,8,128]{2,1,0} dynamic-slice(%p, %i, %i, %i)
  %update = f32[12,8,128]{2,1,0} dynamic-update-slice(%q, %row, %i, %i, %i)
  %in = (f32[12,8,128]{2,1,0:S(1)}, f32[12,8,128]{2,1,0}, u32[]{:S(2)}) \
copy-start(%p)
  %arrived = f32[12,8,128]{2,1,0:S(1)} copy-done(%in)
  %out = (f32[12,8,128]{2,1,0}, f32[12,8,128]{2,1,0:S(1)}, u32[]{:S(2)}) \
copy-start(%near)
  %left = f32[12,8,128]{2,1,0} copy-done(%out)
  %piece = ((f32[12,8,128]{2,1,0}), f32[3,8,128]{2,1,0:S(1)}, s32[]{:S(2)}) \
slice-start(%p), slice={[0:3], [0:8], [0:128]}
  %got = f32[3,8,128]{2,1,0:S(1)} slice-done(%piece)
  %buffer = f32[12,8,128]{2,1,0} custom-call(), \
custom_call_target="AllocateBuffer"
  %view.1 = f32[96,128]{1,0} bitcast(%p)
  ROOT %sum.1 = f32[12,8,128]{2,1,0} add(%p, %q)
}
"""
PARSED = program.parse(TEXT)
LAYER, INDEX = 8 * 128 * 4, 4
STACK = 12 * LAYER


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("sum.1", 3 * STACK),
    ("all", 2 * STACK),
    ("kept", 0),
    # A layer is read and a layer is written, in place.
    ("layers", 2 * LAYER + INDEX),
    ("begun", 2 * LAYER + INDEX),
    ("ended", 0),
    ("two", 3 * LAYER + INDEX),
    ("taken", 2 * LAYER + 3 * INDEX),
    ("update", 2 * LAYER),
    ("in", STACK),
    ("arrived", 0),
    ("out", 0),
    ("left", STACK),
    ("piece", 3 * LAYER),
    ("got", 0),
    ("buffer", 0),
    ("view.1", 0),
    ("p", 0),
  ],
)
def test_moved_bytes(name, expected):
  main = PARSED.computations["main"]
  moved = traffic.moved_bytes(main.instructions[name], main, PARSED)
  assert moved == expected


def test_a_kernel_that_says_what_it_moves():
  """It is given an array twice, and reads it once."""
  text = """\
ENTRY %main (p: f32[12,8,128]) -> f32[12,8,128] {
  %p = f32[12,8,128]{2,1,0} parameter(0)
  ROOT %k = f32[12,8,128]{2,1,0} custom-call(%p, %p), custom_call_target=\
"__gpu$xla.gpu.triton", backend_config={said = "{\\22moved\\22: \\2298304\\22}"}
}
"""
  parsed = program.parse(text)
  main = parsed.computations["main"]
  assert traffic.moved_bytes(main.root, main, parsed) == 98304
