"""What a program costs, instruction by instruction, loops unrolled."""

import dataclasses
import re
from collections.abc import Iterator

from d2v_jax.planning.operations import kernel as kernel_of
from d2v_jax.planning.operations import matrix_operations
from d2v_jax.planning.program import Computation, Instruction, Program
from d2v_jax.planning.traffic import moved_bytes

COLLECTIVES = (
  "all-gather",
  "all-reduce",
  "all-to-all",
  "collective-broadcast",
  "collective-permute",
  "ragged-all-to-all",
  "reduce-scatter",
)

# Estimates beyond are a compiler's mark that it has none.
_MOST_CYCLES = 2**40


@dataclasses.dataclass(frozen=True)
class Cost:
  """What an instruction costs, once.

  Attributes:
    times: how often it runs in a call of the program.
    instruction: what it is.
    operations: of matrix products and convolutions; a multiply-add is two.
    repeated: those of them that were made before, and thrown away.
    moved: bytes to and from the device's large memory.
    cycles: of the core, as the compiler estimates them; None: it does not.
    kernel: a kernel whose inside the compiler does not know.
    exponentials: that a kernel takes.
    collective: which one it is, '' for none.
    received: bytes of a collective's result on each device.
    overlaps: it runs beside other instructions.
  """

  times: int
  instruction: Instruction
  operations: float = 0.0
  moved: float = 0.0
  cycles: int | None = None
  repeated: float = 0.0
  kernel: bool = False
  exponentials: float = 0.0
  collective: str = ""
  received: float = 0.0
  overlaps: bool = False


def costs(program: Program) -> list[Cost]:
  """All that runs; of branches the one with the most operations and bytes."""
  entry = program.computations[program.entry]
  return list(_of_computation(entry, program, 1))


def _of_computation(
  computation: Computation, program: Program, times: int
) -> Iterator[Cost]:
  for instruction in computation:
    op = instruction.op
    if op == "while":
      body = program.computations[instruction.attribute("body") or ""]
      rounds = trip_count(instruction, program)
      yield from _of_computation(body, program, times * rounds)
    elif op == "conditional":
      branches = [
        list(_of_computation(branch, program, times))
        for branch in _branches(instruction, program)
      ]
      yield from max(branches, key=_size, default=[])
    elif op in ("call", "async-start"):
      called = program.computations[instruction.called or ""]
      for cost in _of_computation(called, program, times):
        beside = cost.overlaps or op == "async-start"
        yield dataclasses.replace(cost, overlaps=beside)
    elif op not in ("async-done", "async-update"):
      yield from _of_instruction(instruction, computation, program, times)
  yield from _collectives_of(computation, program, times)


def _of_instruction(
  instruction: Instruction,
  computation: Computation,
  program: Program,
  times: int,
) -> Iterator[Cost]:
  if _kind(instruction):
    return  # see _collectives_of
  kernel = kernel_of(instruction, computation)
  found = re.search(r'"estimated_cycles":"(-?\d+)"', instruction.attributes)
  cycles = int(found[1]) if found else None
  operations, repeated, exponentials = kernel or (
    _operations(instruction, computation, program),
    0.0,
    0.0,
  )
  if "rematted_computation" in instruction.place:
    repeated = operations
  cost = Cost(
    times=times,
    instruction=instruction,
    operations=operations,
    repeated=repeated,
    moved=moved_bytes(instruction, computation, program),
    cycles=cycles if cycles and 0 < cycles < _MOST_CYCLES else None,
    kernel=kernel is not None,
    exponentials=exponentials,
  )
  if cost.operations or cost.moved or cost.cycles:
    yield cost


def _operations(
  instruction: Instruction, computation: Computation, program: Program
) -> float:
  if instruction.op in ("fusion", "fusion-start"):
    inner = program.called(instruction)
    return sum(_operations(i, inner, program) for i in inner) if inner else 0.0
  return matrix_operations(instruction, computation)


def _kind(instruction: Instruction) -> str:
  """Which collective an instruction begins; '' for none."""
  op = instruction.op.removesuffix("-start")
  return op if op in COLLECTIVES else ""


def _collectives_of(
  computation: Computation, program: Program, times: int
) -> Iterator[Cost]:
  """Those of a computation and its fusions, each once.

  A TPU weaves a collective into fusions: the parts of one have one channel.
  """
  seen = set()
  for collective, holder, fusion in _inside(computation, program, None):
    channel = collective.attribute("channel_id") or collective.name
    if channel in seen:
      continue
    seen.add(channel)
    kind, received = _kind(collective), _received(collective, holder)
    users = holder.users.get(collective.name, [])
    shares = [u for u in users if u.op == "dynamic-slice"]
    # A TPU's reduce-scatter is a fused all-reduce that keeps its share.
    if kind == "all-reduce" and fusion and shares and shares == users:
      kind = "reduce-scatter"
      received = shares[0].arrays[0].num_bytes
    yield Cost(
      times=times,
      instruction=collective,
      moved=0.0 if fusion else moved_bytes(collective, holder, program),
      collective=kind,
      received=received,
      overlaps=collective.op.endswith("-start")
      or (fusion is not None and "async" in fusion.name),
    )


def _inside(
  computation: Computation, program: Program, fusion: Instruction | None
) -> Iterator[tuple[Instruction, Computation, Instruction | None]]:
  """(collective, computation, the outermost fusion that it is in)."""
  for instruction in computation:
    if _kind(instruction):
      yield instruction, computation, fusion
    elif instruction.op == "fusion":
      inner = program.called(instruction)
      if inner is not None:
        yield from _inside(inner, program, fusion or instruction)


def _received(collective: Instruction, computation: Computation) -> float:
  made = collective.arrays
  if collective.op.endswith("-start") and _kind(collective) != "all-reduce":
    # The first of two halves has ((operands), (results), ...).
    operands = computation.operands(collective)
    count = sum(len(i.arrays) for i in operands)
    made = made[count : 2 * count]
  return sum(a.num_bytes for a in made)


def trip_count(loop: Instruction, program: Program) -> int:
  """Rounds of a loop: what the compiler knows, or what its counter meets.

  A loop of unknown length counts once.
  """
  known = re.search(r'known_trip_count"?:\{"?n"?:"?(\d+)', loop.attributes)
  if known:
    return int(known[1])
  condition = program.computations[loop.attribute("condition") or ""]
  todo, most = [condition], 1
  while todo:
    for instruction in todo.pop():
      whole = instruction.arrays and instruction.arrays[0].dims == ()
      if instruction.op == "constant" and whole:
        number = re.fullmatch(r"\s*(\d+)\s*", instruction.literal)
        most = max(most, int(number[1]) if number else 1)
      inner = program.called(instruction)
      todo += [inner] if inner is not None else []
  return most


def _branches(
  instruction: Instruction, program: Program
) -> Iterator[Computation]:
  listed = re.search(r"branch_computations=\{([^}]*)\}", instruction.attributes)
  names = re.findall(r"[\w.\-]+", listed[1]) if listed else []
  for side in ("true_computation", "false_computation"):
    names += [instruction.attribute(side) or ""]
  for name in names:
    if name in program.computations:
      yield program.computations[name]


def _size(branch: list[Cost]) -> float:
  return sum(cost.times * (cost.operations + cost.moved) for cost in branch)


def collective_bytes(found: list[Cost]) -> dict[str, float]:
  """Kind of collective -> bytes of a call of the program."""
  total: dict[str, float] = {}
  for cost in found:
    if cost.collective:
      before = total.get(cost.collective, 0.0)
      total[cost.collective] = before + cost.times * cost.received
  return total
