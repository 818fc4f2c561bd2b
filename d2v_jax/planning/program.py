"""The text of an optimized XLA program, as instructions.

Source: the format is XLA's HLO text, https://openxla.org/xla/operation_semantics
and what `jax.stages.Compiled.as_text` prints.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping

# f32[8,128]{1,0:T(8,128)S(1)}: type, sizes, and in the layout the memory.
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,<=]*)\](\{[^{}]*\})?")
_MEMORY = re.compile(r"S\((\d+)\)")
_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_COMMENT = re.compile(r"/\*.*?\*/")
_REFERENCE = re.compile(r"%([\w.\-]+)")
_BITS = re.compile(r"[a-z]+(\d+)")

# No array of numbers.
_EMPTY = ("token", "opaque")


@dataclasses.dataclass(frozen=True)
class Array:
  """Type, sizes and place of an array.

  Attributes:
    dtype: as XLA says it, e.g. 'bf16'.
    dims: sizes of its axes.
    near: it lies in memory of the core itself, such as a TPU's VMEM; False: in
      the device's large memory.
  """

  dtype: str
  dims: tuple[int, ...]
  near: bool = False

  @property
  def size(self) -> int:
    """Number of elements."""
    return math.prod(self.dims)

  @functools.cached_property
  def num_bytes(self) -> float:
    """Bytes of the elements, without what tiles add."""
    if self.dtype in _EMPTY:
      return 0
    if self.dtype == "pred":
      return self.size
    bits = _BITS.match(self.dtype)
    return self.size * int(bits[1]) / 8 if bits else 0

  @property
  def far_bytes(self) -> float:
    """Bytes in the device's large memory."""
    return 0 if self.near else self.num_bytes


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a program.

  Attributes:
    name: unique in its computation.
    op: e.g. 'fusion'.
    arrays: of its result, those of a tuple in order.
    operands: names of instructions.
    literal: what stands in its parentheses.
    attributes: what stands behind them.
    root: its result is the computation's.
  """

  name: str
  op: str
  arrays: tuple[Array, ...]
  operands: tuple[str, ...]
  literal: str = ""
  attributes: str = ""
  root: bool = False

  def attribute(self, name: str) -> str | None:
    """A value without braces, such as the target of a custom call."""
    found = re.search(rf'\b{name}="?%?([\w.\-$]+)', self.attributes)
    return found[1] if found else None

  @property
  def place(self) -> str:
    """Where in the traced function it comes from; '' if that is unknown."""
    found = re.search(r'op_name="([^"]*)"', self.attributes)
    return found[1] if found else ""

  @property
  def called(self) -> str | None:
    """The computation that it runs as a whole."""
    return self.attribute("calls") or self.attribute("to_apply")


@dataclasses.dataclass
class Computation:
  """Instructions by name, in order."""

  instructions: dict[str, Instruction]

  def __iter__(self) -> Iterator[Instruction]:
    return iter(self.instructions.values())

  def operands(self, instruction: Instruction) -> list[Instruction]:
    """The instructions that it takes."""
    return [
      self.instructions[name]
      for name in instruction.operands
      if name in self.instructions
    ]

  @functools.cached_property
  def users(self) -> Mapping[str, list[Instruction]]:
    """Name -> those that take its result."""
    users: dict[str, list[Instruction]] = {}
    for instruction in self:
      for name in dict.fromkeys(instruction.operands):
        users.setdefault(name, []).append(instruction)
    return users

  @functools.cached_property
  def parameters(self) -> Mapping[int, Instruction]:
    """Number -> parameter."""
    return {int(i.literal): i for i in self if i.op == "parameter"}

  @property
  def root(self) -> Instruction:
    """The instruction whose result is returned."""
    return next(i for i in self if i.root)


@dataclasses.dataclass(frozen=True)
class Program:
  """Computations by name.

  Attributes:
    computations: all there are.
    entry: name of the one that runs.
  """

  computations: Mapping[str, Computation]
  entry: str

  def called(self, instruction: Instruction) -> Computation | None:
    """The computation that an instruction runs as a whole."""
    return self.computations.get(instruction.called or "")


def arrays_of(shape: str) -> tuple[Array, ...]:
  """The arrays of a shape's text, those of tuples in order."""
  found = []
  for dtype, dims, layout in _ARRAY.findall(shape):
    memory = _MEMORY.search(layout)
    # A dimension that can be shorter is '<=8'.
    sizes = tuple(int(d.lstrip("<=")) for d in dims.split(",") if d)
    # The host's memory has number 5; scalars of synchronisation are in 2.
    found.append(Array(dtype, sizes, memory is not None and memory[1] != "0"))
  return tuple(found)


def parse(text: str) -> Program:
  """Reads what `Compiled.as_text` prints.

  Raises:
    ValueError: it is no program.
  """
  computations: dict[str, Computation] = {}
  entry, current = "", None
  for line in text.splitlines():
    head = _COMPUTATION.match(line)
    if head:
      current = computations.setdefault(head[2], Computation({}))
      entry = head[2] if head[1] else entry
      continue
    found = _INSTRUCTION.match(line)
    if found and current is not None:
      instruction = _instruction(*found.groups())
      current.instructions[instruction.name] = instruction
  if not entry:
    raise ValueError("the text is no HLO program: it has no ENTRY.")
  return Program(computations, entry)


def _instruction(root: str | None, name: str, rest: str) -> Instruction:
  rest = _COMMENT.sub("", rest)
  end = _closing(rest, 0) if rest.startswith("(") else rest.index(" ")
  shape, rest = rest[:end], rest[end:].lstrip()
  opening = rest.index("(")
  end = _closing(rest, opening)
  literal = rest[opening + 1 : end - 1]
  return Instruction(
    name=name,
    op=rest[:opening],
    arrays=arrays_of(shape),
    operands=tuple(_REFERENCE.findall(literal)),
    literal=literal,
    attributes=rest[end:],
    root=root is not None,
  )


def _closing(text: str, opening: int) -> int:
  """Where what a parenthesis opens is over."""
  depth = 0
  for i in range(opening, len(text)):
    depth += (text[i] == "(") - (text[i] == ")")
    if depth == 0:
      return i + 1
  return len(text)
