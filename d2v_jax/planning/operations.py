"""Operations of one instruction of a program; a multiply-add is two."""

import functools
import math
import re
from typing import NamedTuple

import numpy as np

from d2v_jax.planning.program import Array, Computation, Instruction

# NVIDIA's libraries. Of a gradient the operands stand in other places:
# those of the input, the kernel and the output among operands and results.
_CONVOLUTIONS = {
  "__cudnn$convForward": ("operand 0", "operand 1", "result"),
  "__cudnn$convBiasActivationForward": ("operand 0", "operand 1", "result"),
  "__cudnn$convBackwardInput": ("result", "operand 1", "operand 0"),
  "__cudnn$convBackwardFilter": ("operand 0", "result", "operand 1"),
}
_PRODUCTS = ("__cublas$", "__onednn$matmul")
# Pallas on TPUs and GPUs, Triton.
_KERNELS = ("tpu_custom_call", "mosaic_gpu", "__gpu$xla.gpu.triton")

# Products of two matrices that an attention kernel makes for each pair of
# tokens, and how many of them repeat the forward pass or another kernel.
# Forward: logits, values. Backward, by the number of its results: for dq
# logits, dp, dq; for dk and dv logits, dv, dp, dk; for all logits, dv, dp, dk,
# dq.
_FORWARD = (2, 0)
_BACKWARD = {1: (3, 1), 2: (4, 2)}
_BACKWARD_ALL = (5, 1)


class Kernel(NamedTuple):
  """What a hand-written kernel does, stated by it or by a formula.

  Attributes:
    operations: of products of matrices; a multiply-add is two.
    repeated: those of them that repeat others.
    exponentials: numbers whose exponential is taken.
  """

  operations: float
  repeated: float
  exponentials: float


def matrix_operations(
  instruction: Instruction, computation: Computation
) -> float:
  """Operations of a matrix product or a convolution; 0 of all others.

  Args:
    instruction: of an optimized program.
    computation: that it stands in.
  """
  operands = [i.arrays[0] for i in computation.operands(instruction)]
  if instruction.op == "dot":
    return _product(instruction, operands)
  if instruction.op == "convolution":
    inputs, kernel = operands[:2]
    return _convolution(instruction, inputs, kernel, instruction.arrays[0])
  if instruction.op != "custom-call":
    return 0.0
  target = instruction.attribute("custom_call_target") or ""
  if target.startswith(_PRODUCTS):
    return _library_product(instruction, operands)
  if target in _CONVOLUTIONS:
    places = {
      "operand 0": operands[0],
      "operand 1": operands[1],
      "result": instruction.arrays[0],
    }
    return _convolution(
      instruction, *(places[name] for name in _CONVOLUTIONS[target])
    )
  return 0.0


def kernel(instruction: Instruction, computation: Computation) -> Kernel | None:
  """What a hand-written kernel does, whose inside the compiler can't see.

  What the kernel says of itself (Pallas' cost_estimate, and in its metadata
  for GPUs, that lose the former) counts. Else one that
  belongs to attention has 2 * pairs of tokens * d for each product of two
  matrices, where q [..., N, d] and k [..., M, d] are its first two operands
  with three axes or more, and an exponential for each pair. Others are taken to
  have nothing of it: they only move bytes.

  Returns:
    None if it is no kernel.
  """
  target = instruction.attribute("custom_call_target") or ""
  if not target.startswith(_KERNELS):
    return None
  operations = stated(instruction, "flops")
  if operations:
    repeated = stated(instruction, "repeated")
    return Kernel(operations, repeated, stated(instruction, "transcendentals"))
  arrays = [i.arrays[0] for i in computation.operands(instruction)]
  large = [a for a in arrays if len(a.dims) >= 3 and a.dims[-1] > 1]
  if len(large) < 2 or "attention" not in instruction.place:
    return Kernel(0.0, 0.0, 0.0)
  query, key = large[:2]
  pairs = float(math.prod(query.dims[:-1]) * key.dims[-2])
  products, repeated = _FORWARD
  if "transpose(" in instruction.place:
    outputs = sum(len(a.dims) >= 3 for a in instruction.arrays)
    products, repeated = _BACKWARD.get(outputs, _BACKWARD_ALL)
  one = 2.0 * pairs * query.dims[-1]
  return Kernel(products * one, repeated * one, pairs)


def stated(instruction: Instruction, name: str) -> float:
  """A number that a kernel says of itself; 0 where it says nothing."""
  quote = r'(?:"|\\22)'  # within a string it is escaped
  found = re.search(
    rf"{quote}{name}{quote}\s*:\s*{quote}?(\d+)", instruction.attributes
  )
  return float(found[1]) if found else 0.0


def _product(instruction: Instruction, operands: list[Array]) -> float:
  found = re.search(
    r"lhs_contracting_dims=\{([\d,]*)\}", instruction.attributes
  )
  axes = found[1].split(",") if found and found[1] else []
  terms = math.prod(operands[0].dims[int(axis)] for axis in axes)
  return 2.0 * instruction.arrays[0].size * terms


def _library_product(instruction: Instruction, operands: list[Array]) -> float:
  """A product of cuBLAS, whose configuration says what is contracted."""
  found = re.search(
    r'"lhs_contracting_dimensions":\[([^\]]*)\]', instruction.attributes
  )
  if found:
    axes = [int(x) for x in re.findall(r"\d+", found[1])]
  else:  # of oneDNN: the last axis
    axes = [len(operands[0].dims) - 1]
  terms = math.prod(operands[0].dims[axis] for axis in axes)
  return 2.0 * instruction.arrays[0].size * terms


def _convolution(
  instruction: Instruction, inputs: Array, kernel: Array, output: Array
) -> float:
  """Multiply-adds that meet neither padding nor an inserted zero, twice.

  A batched product is to a TPU a convolution with zeros between the matrices.
  """
  found = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.attributes)
  if not found:
    raise ValueError(f"{instruction.name}: a convolution without dim_labels.")
  lhs, rhs, out = found.groups()
  total = 2.0 * output.dims[out.index("b")] * output.dims[out.index("f")]
  total *= kernel.dims[rhs.index("i")]
  window = _window(instruction.attributes)
  for axis in range(len(lhs) - 2):
    label = str(axis)
    total *= _meetings(
      inputs.dims[lhs.index(label)],
      kernel.dims[rhs.index(label)],
      output.dims[out.index(label)],
      **{name: values[axis] for name, values in window.items()},
    )
  return total


def _window(attributes: str) -> dict[str, list[int]]:
  """Per axis: stride, padding before, and the distances of elements."""
  found = re.search(r"window=\{([^}]*)\}", attributes)
  fields = dict(x.split("=") for x in found[1].split()) if found else {}
  axes = len(fields.get("size", "").split("x")) if "size" in fields else 0

  def numbers(name: str) -> list[int]:
    values = fields.get(name, "x".join("1" * axes)).split("x")
    return [int(value) for value in values if value]

  pads = fields.get("pad", "x".join(["0_0"] * axes)).split("x")
  return {
    "stride": numbers("stride"),
    "before": [int(pad.split("_")[0]) for pad in pads if pad],
    "lhs_dilate": numbers("lhs_dilate"),
    "rhs_dilate": numbers("rhs_dilate"),
  }


@functools.cache
def _meetings(
  inputs: int,
  kernel: int,
  output: int,
  *,
  stride: int,
  before: int,
  lhs_dilate: int,
  rhs_dilate: int,
) -> int:
  """Pairs of an output and an element of the kernel that meet an input."""
  # The smaller of the two is walked along, the other one is an array.
  few, many = sorted(
    ((kernel, rhs_dilate), (output, stride)), key=lambda x: x[0]
  )
  positions = np.arange(many[0], dtype=np.int64) * many[1] - before
  count = 0
  for step in range(few[0]):
    at = positions + step * few[1]
    meets = (at >= 0) & (at % lhs_dilate == 0)
    count += int((meets & (at < (inputs - 1) * lhs_dilate + 1)).sum())
  return count
