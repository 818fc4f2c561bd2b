"""Bytes that an instruction moves to and from the device's large memory."""

from d2v_jax.planning.operations import stated
from d2v_jax.planning.program import Computation, Instruction, Program

# They move nothing: names, views, and what their computations move.
_FREE = {
  "after-all",
  "bitcast",
  "call",
  "conditional",
  "constant",
  "get-tuple-element",
  "iota",
  "opt-barrier",
  "parameter",
  "partition-id",
  "replica-id",
  "tuple",
  "while",
}
_FREE_TARGETS = {
  "AllocateBuffer",
  "AssumeGatherIndicesInBound",
  "ConcatBitcast",
}
_VIEWS = {"bitcast", "reshape"}
_SLICES = {"dynamic-slice", "gather", "slice"}
_FUSIONS = {"fusion", "fusion-start"}


def moved_bytes(
  instruction: Instruction, computation: Computation, program: Program
) -> float:
  """What one execution reads and writes.

  An operand of which a fusion only takes slices counts as those, and a result
  that is an operand with a slice replaced counts as the slice. Transfers in two
  halves read with the first and write with the second. Of a kernel that says
  what it moves that counts.

  Args:
    instruction: of an optimized program.
    computation: that it stands in.
    program: all of it.
  """
  op = instruction.op
  target = instruction.attribute("custom_call_target")
  if op in _FREE or target in _FREE_TARGETS:
    return 0.0
  if moved := stated(instruction, "moved"):
    return moved
  written = sum(a.far_bytes for a in instruction.arrays)
  if op == "slice-start":
    # ((whole), slice, ...): it reads as much as it brings.
    whole, part = instruction.arrays[:2]
    return 0.0 if whole.near else part.num_bytes
  if op == "fusion-done":
    return 0.0  # its first half knows what is in it
  inner = program.called(instruction) if op in _FUSIONS else None
  if inner is not None:
    read = _read(instruction, computation, program)
    return read + _written(instruction, inner, program)
  if op.endswith("-start"):
    return _read(instruction, computation, program)
  if op.endswith("-done"):
    return written
  if op == "dynamic-update-slice":
    return 2 * _bytes(computation, instruction.operands[1])
  return _read(instruction, computation, program) + written


def _read(
  instruction: Instruction, computation: Computation, program: Program
) -> float:
  fused = instruction.op in _FUSIONS
  inner = program.called(instruction) if fused else None
  total = 0.0
  for number, name in enumerate(instruction.operands):
    source = computation.instructions.get(name)
    if source is None:
      continue
    whole = sum(a.far_bytes for a in source.arrays)
    if not whole:
      continue
    if inner is not None and number in inner.parameters:
      whole = _read_inside(inner.parameters[number].name, inner, program, whole)
    elif instruction.op in _SLICES and number == 0:
      whole = min(whole, instruction.arrays[0].num_bytes)
    total += whole
  return total


def _read_inside(
  name: str, computation: Computation, program: Program, whole: float
) -> float:
  """Bytes of a value that a fused computation looks at, at most `whole`."""
  total = 0.0
  for user in computation.users.get(name, ()):
    first = user.operands[0] == name
    if user.op in _VIEWS:
      total += _read_inside(user.name, computation, program, whole)
    elif user.op in _SLICES and first:
      total += user.arrays[0].num_bytes
    elif user.op == "dynamic-update-slice" and first:
      continue  # what is replaced in place is not read
    elif user.op == "fusion" and (inner := program.called(user)) is not None:
      for number, operand in enumerate(user.operands):
        if operand == name:
          parameter = inner.parameters[number].name
          total += _read_inside(parameter, inner, program, whole)
    elif user.op != "tuple":
      return whole
  return min(total, whole)


def _written(
  instruction: Instruction, inner: Computation, program: Program
) -> float:
  """Bytes of a fusion's results, of those replaced in place the new part."""
  root = inner.root
  results = inner.operands(root) if root.op == "tuple" else [root]
  if instruction.op == "fusion-start":
    # ((operands), results, ...), all in the large memory.
    return sum(_new(result, inner, program) for result in results)
  if len(results) != len(instruction.arrays):
    return sum(a.far_bytes for a in instruction.arrays)
  return sum(
    array.far_bytes and min(array.far_bytes, _new(result, inner, program))
    for array, result in zip(instruction.arrays, results, strict=True)
  )


def _new(
  result: Instruction, computation: Computation, program: Program
) -> float:
  """Bytes of a fused value that are not those of an operand in its place."""
  if result.op == "bitcast":
    sources = computation.operands(result)
    if sources:
      return _new(sources[0], computation, program)
  if result.op == "dynamic-update-slice":
    return _bytes(computation, result.operands[1])
  if result.op == "fusion" and (inner := program.called(result)) is not None:
    root = inner.root
    if root.op != "tuple":
      return _new(root, inner, program)
  return sum(a.num_bytes for a in result.arrays)


def _bytes(computation: Computation, name: str) -> float:
  source = computation.instructions.get(name)
  return sum(a.num_bytes for a in source.arrays) if source else 0.0
