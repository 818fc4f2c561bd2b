"""Pickles read as data: a program of theirs is never run."""

import pickletools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from d2v_jax.interchange.weights import InterchangeError

# Far above what the structure of a checkpoint takes, its weights left out.
_MOST_BYTES = 64 * 2**20
_MOST_INSTRUCTIONS = 5_000_000
_MOST_LEVELS = 100
# Of text: a name or a number.
_LONGEST_LINE = 8192

# Instructions that push a number or a text that stands in the pickle.
_VALUES = frozenset(
  opcode.name
  for opcode in pickletools.opcodes
  if re.fullmatch(
    "(BIN)?INT[12]?|LONG[14]?|(BIN)?FLOAT|(SHORT_)?BINBYTES8?|"
    "((SHORT_)?BIN)?(STRING|UNICODE)8?",
    opcode.name,
  )
)
_FIXED = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_GETS = frozenset(("GET", "BINGET", "LONG_BINGET"))
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MODULES = {"__builtin__": "builtins"}


class Window:
  """A reader of bytes that never takes more memory than they have left."""

  def __init__(self, data: memoryview, at: int = 0):
    self._data, self._at = data[: at + _MOST_BYTES], at

  def read(self, n: int) -> bytes:
    """The next n bytes, or what is left."""
    piece = bytes(self._data[self._at : self._at + n])
    self._at += len(piece)
    return piece

  def readline(self) -> bytes:
    """The bytes up to and with the next newline."""
    piece = bytes(self._data[self._at : self._at + _LONGEST_LINE])
    line = self.read(piece.find(b"\n") + 1)
    if b"\\" in line:
      raise InterchangeError(f"refused the escaped name {line[:100]!a}")
    return line

  def tell(self) -> int:
    """Position in the whole data."""
    return self._at

  def left(self) -> int:
    """How many bytes may still be read."""
    return len(self._data) - self._at


class Name(str):
  """The name of a known class or function: the thing itself is not here."""


def read(
  window: Window,
  *,
  names: Mapping[str, Callable[..., Any] | None],
  state: Mapping[str, Callable[[Any, Any], None]],
  persistent: Callable[[Any], Any],
) -> Any:
  """What a pickle describes.

  Args:
    window: at the pickle's begin; afterwards behind its end.
    names: of the classes and functions that may occur, 'module.name', to a
      function of ours that is called in their stead; None: cannot be called.
    state: of those that build mutable things: called as (thing, state) when the
      pickle sets their state.
    persistent: gives what stands outside the pickle, by its identifier.

  Returns:
    Nested dicts, lists and tuples of what the functions gave, strings, bytes,
    numbers, None and `Name`s.

  Raises:
    InterchangeError: the pickle is damaged, or would do what is not allowed.
  """
  machine = _Machine(names, state, persistent, budget=4 * window.left())
  try:
    return _shallow(machine.run(window))
  except InterchangeError:
    raise
  except (ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
    # Lengths, numbers, stack and memo: the whole format is checked by use.
    raise InterchangeError(f"its pickle is damaged: {error}") from error


class _Machine:
  def __init__(self, names, state, persistent, *, budget):
    self._names, self._state, self._persistent = names, state, persistent
    self._budget = budget
    self._stack, self._marks, self._memo = [], [], {}
    self._made = {}  # id -> (thing with a state, its name)

  def run(self, window):
    stack = self._stack
    steps = pickletools.genops(window)
    for count, (opcode, arg, _) in enumerate(steps):
      if count > _MOST_INSTRUCTIONS:
        raise InterchangeError(
          f"its pickle has more than {_MOST_INSTRUCTIONS} instructions, which "
          "no model's weights need"
        )
      name = opcode.name
      if name in _VALUES:
        stack.append(arg)
      elif name in _PUTS:
        self._memo[arg] = self._top()
      elif name in _GETS:
        stack.append(self._memo[arg])
      elif name in _FIXED:
        stack.append(_FIXED[name])
      elif name in _TUPLES:
        items = [self._pop() for _ in range(_TUPLES[name])]
        stack.append(tuple(reversed(items)))
      elif name == "STOP":
        return self._pop()
      elif name == "FRAME":
        if arg > window.left():
          raise ValueError(f"a frame of {arg} bytes, {window.left()} are left")
      elif name != "PROTO":
        self._other(name, arg)
    raise ValueError("it has no end")

  def _other(self, name, arg):
    stack = self._stack
    match name:
      case "MARK":
        self._marks.append(len(stack))
      case "EMPTY_DICT":
        stack.append({})
      case "EMPTY_LIST":
        stack.append([])
      case "TUPLE":
        stack.append(tuple(self._to_mark()))
      case "LIST":
        stack.append(self._to_mark())
      case "DICT":
        stack.append(put({}, self._to_mark()))
      case "SETITEM":
        value, key = self._pop(), self._pop()
        put(_of(dict, self._top()), [key, value])
      case "SETITEMS":
        items = self._to_mark()
        put(_of(dict, self._top()), items)
      case "APPEND":
        value = self._pop()
        _of(list, self._top()).append(value)
      case "APPENDS":
        items = self._to_mark()
        _of(list, self._top()).extend(items)
      case "MEMOIZE":
        self._memo[len(self._memo)] = self._top()
      case "POP":
        # As pickle does: directly above a mark it takes the mark away.
        if self._marks and self._marks[-1] == len(stack):
          self._marks.pop()
        else:
          self._pop()
      case "POP_MARK":
        self._to_mark()
      case "DUP":
        stack.append(self._top())
      case "GLOBAL":
        stack.append(self._name(*arg.split(" ", 1)))
      case "STACK_GLOBAL":
        attribute, module = self._pop(), self._pop()
        stack.append(self._name(_of(str, module), _of(str, attribute)))
      case "INST":
        # Never allowed; but if the name is not either, that says more.
        self._name(*arg.split(" ", 1))
        self._refuse(name)
      case "REDUCE" | "NEWOBJ":
        args = _of(tuple, self._pop())
        stack.append(self._call(self._pop(), args))
      case "BUILD":
        state = self._pop()
        self._set_state(self._top(), state)
      case "BINPERSID":
        stack.append(self._persistent(self._pop()))
      case _:
        self._refuse(name)

  def _refuse(self, name):
    raise InterchangeError(
      f"refused the pickle instruction {name}, which torch.save does not write"
    )

  def _name(self, module, attribute):
    module = _MODULES.get(module, module)
    name = f"{module}.{attribute}"
    if name not in self._names:
      shown = ascii(name[:100])[1:-1]
      raise InterchangeError(
        f"refused to import {shown}: a file of weights needs only tensors, "
        "dicts, lists, strings and numbers; nothing of it was run. If you "
        "trust it, open it where it was made, and torch.save its state_dict "
        "alone"
      )
    return Name(name)

  def _call(self, name, args):
    make = self._names.get(name) if type(name) is Name else None
    if make is None:
      raise InterchangeError(f"refused to call {_shown(name)}")
    self._spend(args)
    thing = make(*args)
    if name in self._state:
      self._made[id(thing)] = thing, name
    return thing

  def _set_state(self, thing, state):
    _, name = self._made.get(id(thing), (None, None))
    if name is None:
      raise InterchangeError(f"refused to set the state of {_shown(thing)}")
    self._spend((state,))
    if type(state) is tuple:
      self._spend(state)
    self._state[name](thing, state)

  def _spend(self, args):
    """Limits what is made of parts that the pickle names again and again."""
    sized = (str, bytes, tuple, list, dict)
    self._budget -= sum(len(arg) for arg in args if isinstance(arg, sized))
    if self._budget < 0:
      raise InterchangeError(
        "its pickle unfolds into many times its own size, which no model's "
        "weights do"
      )

  def _floor(self):
    return self._marks[-1] if self._marks else 0

  def _top(self):
    if len(self._stack) <= self._floor():
      raise IndexError("nothing is left on the stack")
    return self._stack[-1]

  def _pop(self):
    self._top()
    return self._stack.pop()

  def _to_mark(self):
    if not self._marks:
      raise IndexError("no mark is left on the stack")
    start = self._marks.pop()
    items = self._stack[start:]
    del self._stack[start:]
    return items


def put(mapping: dict, items: Sequence[Any]) -> dict:
  """Sets key, value, key, value, ... of a dict, and returns it.

  Raises:
    ValueError, TypeError: a key is none, or could take long to hash.
  """
  if len(items) % 2:
    raise ValueError("a key without a value")
  for key, value in zip(items[::2], items[1::2], strict=True):
    # Hashing a nested tuple or a long number may take forever, or the stack.
    parts = key if type(key) is tuple and len(key) <= 8 else (key,)
    for part in parts:
      short = not isinstance(part, int) or part.bit_length() <= 64
      if not isinstance(part, str | bytes | int | float | None) or not short:
        raise TypeError(f"{_shown(part)} as a key of a dict")
    mapping[key] = value
  return mapping


def _of(kind, thing):
  if not isinstance(thing, kind):
    raise TypeError(f"{_shown(thing)} where a {kind.__name__} must be")
  return thing


def _shown(thing):
  return thing if type(thing) is Name else f"a {type(thing).__name__}"


def _shallow(root):
  """Refuses what contains itself, or is deeper than recursion can go."""
  level = [root]
  for _ in range(_MOST_LEVELS):
    below = {}
    for thing in level:
      things = thing.values() if isinstance(thing, dict) else thing
      for x in things if isinstance(thing, dict | list | tuple) else ():
        if isinstance(x, dict | list | tuple) and len(x):
          below[id(x)] = x
    if not below:
      return root
    level = below.values()
  raise InterchangeError(
    f"it is nested more than {_MOST_LEVELS} levels deep, or contains itself"
  )
