"""Operations of instructions, against counts by hand and by enumeration."""

import itertools

import jax
import jax.numpy as jnp
import pytest

from d2v_jax.planning import operations, program


def instruction(line, *operands):
  """An instruction and the computation that it stands in."""
  lines = [
    f"  %p{i} = {shape} parameter({i})" for i, shape in enumerate(operands)
  ]
  text = "\n".join(["ENTRY %main () -> f32[] {", *lines, f"  ROOT {line}", "}"])
  parsed = program.parse(text)
  computation = parsed.computations["main"]
  return computation.root, computation


def matrix(line, *operands):
  return operations.matrix_operations(*instruction(line, *operands))


def test_a_product():
  line = (
    "%dot = f32[5,2,4]{2,1,0} dot(%p0, %p1), lhs_batch_dims={0}, "
    "lhs_contracting_dims={2}, rhs_batch_dims={0}, rhs_contracting_dims={1}"
  )
  shapes = "f32[5,2,3]{2,1,0}", "f32[5,3,4]{2,1,0}"
  assert matrix(line, *shapes) == 2 * 5 * 2 * 4 * 3


def test_a_product_of_cublas():
  line = (
    "%gemm = (bf16[7,11]{1,0}, s8[99]{0}) custom-call(%p0, %p1), "
    'custom_call_target="__cublas$lt$matmul", backend_config='
    '{"gemm_backend_config":{"dot_dimension_numbers":'
    '{"lhs_contracting_dimensions":["0"],"rhs_contracting_dimensions":["0"]}}}'
  )
  assert matrix(line, "bf16[5,7]{1,0}", "bf16[5,11]{1,0}") == 2 * 7 * 11 * 5


def test_a_batched_product_as_a_tpu_has_it():
  """With zeros between the 6 x 2 matrices, which cost nothing."""
  line = (
    "%c = f32[6,2,9,4]{3,2,1,0} convolution(%p0, %p1), window={size=6x2 "
    "stride=5x1 lhs_dilate=6x2}, dim_labels=01bf_01io->01bf"
  )
  shapes = "bf16[6,2,9,8]{3,2,1,0}", "bf16[6,2,8,4]{3,2,1,0}"
  assert matrix(line, *shapes) == 2 * (6 * 2) * 9 * 8 * 4


@pytest.mark.parametrize(
  "options",
  [
    {"window_strides": (1,), "padding": [(0, 0)]},
    {"window_strides": (3,), "padding": [(2, 1)]},
    {"window_strides": (2,), "padding": [(4, 4)], "rhs_dilation": (2,)},
    {"window_strides": (1,), "padding": [(2, 2)], "lhs_dilation": (3,)},
    {"window_strides": (1,), "padding": [(1, 1)], "feature_group_count": 2},
  ],
)
def test_convolutions(options):
  """Every product of a convolution of ones adds one to its result."""
  groups = options.get("feature_group_count", 1)
  x = jnp.ones((2, 11, 4))
  kernel = jnp.ones((3, 4 // groups, 6))

  def conv(x, kernel):
    return jax.lax.conv_general_dilated(
      x, kernel, dimension_numbers=("NWC", "WIO", "NWC"), **options
    )

  text = jax.jit(conv).lower(x, kernel).as_text("hlo")
  lines = [x for x in text.splitlines() if " convolution(" in x]
  line = lines[0].replace("ROOT", "").strip()
  name, _, rest = line.partition(" = ")
  found = itertools.count()
  inside = rest[rest.index("convolution(") : rest.index(")")]
  named = inside.split("(")[1].split(", ")
  for operand in named:
    rest = rest.replace(operand, f"%p{next(found)}", 1)
  counted = matrix(
    f"%{name.lstrip('%')} = {rest}",
    "f32[2,11,4]{2,1,0}",
    f"f32[3,{4 // groups},6]{{2,1,0}}",
  )
  assert counted == 2 * float(conv(x, kernel).sum())


@pytest.mark.parametrize(
  ("target", "shapes", "result"),
  [
    ("convForward", ("f32[2,9,4]", "f32[3,4,6]"), "f32[2,7,6]"),
    ("convBackwardInput", ("f32[2,7,6]", "f32[3,4,6]"), "f32[2,9,4]"),
    ("convBackwardFilter", ("f32[2,9,4]", "f32[2,7,6]"), "f32[3,4,6]"),
  ],
)
def test_a_convolution_of_cudnn_and_its_gradients(target, shapes, result):
  line = (
    f"%c = ({result}{{2,1,0}}, u8[0]{{0}}) custom-call(%p0, %p1), "
    "window={size=3}, dim_labels=b0f_0io->b0f, "
    f'custom_call_target="__cudnn${target}"'
  )
  assert matrix(line, *shapes) == 2 * 2 * 7 * 6 * 3 * 4


def test_what_is_none():
  assert matrix("%a = f32[4]{0} add(%p0, %p0)", "f32[4]{0}") == 0
  line = '%s = f32[4]{0} custom-call(%p0), custom_call_target="Sharding"'
  assert matrix(line, "f32[4]{0}") == 0
  made = instruction(line, "f32[4]{0}")
  assert operations.kernel(*made) is None


def test_a_kernel_for_gpus_says_it_in_its_metadata():
  line = (
    "%k = bf16[2,3,64,16] custom-call(%p0, %p1, %p1), custom_call_target="
    '"__gpu$xla.gpu.triton", backend_config={serialized_metadata = '
    r'"{\22flops\22: \2212\22, \22repeated\22: \224\22, '
    r'\22transcendentals\22: \223\22, \22moved\22: \2250\22}"}'
  )
  made = instruction(line, *QKV)
  assert operations.kernel(*made) == (12, 4, 3)
  assert operations.stated(made[0], "moved") == 50
  assert operations.stated(made[0], "other") == 0


QKV = ("bf16[2,3,64,16]{3,2,1,0}", "bf16[2,3,80,16]{3,2,1,0}")
PAIRS = 2 * 3 * 64 * 80 * 16  # times the width of a head


@pytest.mark.parametrize(
  ("place", "result", "products", "repeated"),
  [
    ("jit(f)/jvp(attention)", "bf16[2,3,64,16]", 2, 0),
    ("jit(f)/transpose(jvp(attention))/dq", "bf16[2,3,64,16]", 3, 1),
    (
      "transpose(attention)",
      "(bf16[2,3,80,16], bf16[2,3,80,16], f32[4])",
      4,
      2,
    ),
    (
      "transpose(attention)",
      "(f32[2,3,8,16], f32[2,3,8,16], f32[2,3,8,16])",
      5,
      1,
    ),
    ("jit(f)/norm", "bf16[2,3,64,16]", 0, 0),
  ],
)
def test_a_kernel_that_says_nothing(place, result, products, repeated):
  line = (
    f"%k = {result} custom-call(%p0, %p1, %p1), custom_call_target="
    f'"tpu_custom_call", metadata={{op_name="{place}"}}'
  )
  found = operations.kernel(*instruction(line, *QKV))
  exponentials = 2 * 3 * 64 * 80 if products else 0
  assert found == (2 * PAIRS * products, 2 * PAIRS * repeated, exponentials)


def test_all_kernels_of_attention_together():
  """Backward has twice the products of forward; what is more is repeated."""
  kernels = (operations._FORWARD, *operations._BACKWARD.values())
  needed = [all_ - again for all_, again in kernels]
  assert sum(needed[1:]) == 2 * needed[0]
  all_, again = operations._BACKWARD_ALL
  assert all_ - again == 2 * needed[0]


def test_a_kernel_that_says_what_it_does():
  line = (
    "%k = bf16[2,3,64,16] custom-call(%p0, %p1), custom_call_target="
    '"tpu_custom_call", backend_config={"custom_call_config":{"cost_estimate":'
    '{"flops":"1234","transcendentals":"5","bytes_accessed":"6"}}}'
  )
  found = operations.kernel(*instruction(line, *QKV))
  assert found == (1234, 0, 5)
