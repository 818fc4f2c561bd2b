"""Lists that fairseq keeps as Python expressions, read without evaluating them.

layers = term, {"+", term}
term = list, ["*", number] | number, "*", list
list = "[", [triple, {",", triple}, [","]], "]"
triple = "(", number, ",", number, ",", number, [","], ")"
"""

import re

from d2v_jax.interchange.names import InterchangeError

Triple = tuple[int, int, int]

LONGEST_TEXT = 2000
MOST_LAYERS = 64
_LARGEST = 65_536
_TOKEN = re.compile(r"\s*(?:([0-9]{1,9})(?![0-9])|([\[\](),+*]))")


def conv_layers(text: str, where: str) -> tuple[Triple, ...]:
  """Reads '[(512, 10, 5)] + [(512, 3, 2)] * 4'.

  Args:
    text: the expression.
    where: its place in the file, for errors.

  Returns:
    (channels, kernel, stride) of each layer, at least one.

  Raises:
    InterchangeError: for anything else than such a list, and for one of more
      than 64 layers or with numbers outside of 1 to 65536.
  """
  tokens = _Tokens(text, where)
  layers = _term(tokens)
  while tokens.take("+"):
    layers += _term(tokens)
    _check_count(layers, tokens)
  tokens.end()
  if not layers:
    raise tokens.error("there is no layer")
  if not all(1 <= n <= _LARGEST for layer in layers for n in layer):
    raise tokens.error(f"a number is not in 1 to {_LARGEST}")
  return tuple(layers)


def integers(text: str, where: str) -> tuple[int, ...]:
  """Reads '[6, 7, 8]'.

  Raises:
    InterchangeError: for anything else.
  """
  tokens = _Tokens(text, where)
  numbers = _items(tokens, "[", _Tokens.number, "]")
  tokens.end()
  return tuple(numbers)


def _term(tokens):
  if tokens.at_number():
    times = tokens.number()
    tokens.need("*")
    layers = _items(tokens, "[", _triple, "]")
  else:
    layers = _items(tokens, "[", _triple, "]")
    times = tokens.number() if tokens.take("*") else 1
  if times > MOST_LAYERS:
    raise tokens.error(f"there are more than {MOST_LAYERS} layers")
  layers *= times
  _check_count(layers, tokens)
  return layers


def _triple(tokens):
  numbers = _items(tokens, "(", _Tokens.number, ")")
  if len(numbers) != 3:
    raise tokens.error("a layer is (channels, kernel, stride)")
  return tuple(numbers)


def _items(tokens, opening, item, closing):
  tokens.need(opening)
  found = []
  while not tokens.take(closing):
    if found:
      tokens.need(",")
      if tokens.take(closing):
        break
    found.append(item(tokens))
  return found


def _check_count(layers, tokens):
  if len(layers) > MOST_LAYERS:
    raise tokens.error(f"there are more than {MOST_LAYERS} layers")


class _Tokens:
  """Numbers and signs of a text, one after the other."""

  def __init__(self, text, where):
    self._text, self._where = text, where
    if not isinstance(text, str):
      raise InterchangeError(f"{where}: it must be a string, got {text!r:.80}.")
    if len(text) > LONGEST_TEXT:
      raise self.error(f"it is longer than {LONGEST_TEXT} characters")
    self._tokens, position, text = [], 0, text.rstrip()
    while position < len(text):
      match = _TOKEN.match(text, position)
      if not match:
        raise self.error(f"character {position + 1} is not allowed")
      number, sign = match.groups()
      self._tokens.append(sign or int(number))
      position = match.end()
    self._next = 0

  def _peek(self):
    more = self._next < len(self._tokens)
    return self._tokens[self._next] if more else None

  def at_number(self):
    return isinstance(self._peek(), int)

  def take(self, sign):
    found = self._peek() == sign
    self._next += found
    return found

  def need(self, sign):
    if not self.take(sign):
      raise self.error(f"expected {sign!r} in place of {self._shown()}")

  def number(self):
    if not self.at_number():
      raise self.error(f"expected a number in place of {self._shown()}")
    self._next += 1
    return self._tokens[self._next - 1]

  def end(self):
    if self._peek() is not None:
      raise self.error(f"expected the end in place of {self._shown()}")

  def _shown(self):
    token = self._peek()
    return "the end" if token is None else repr(token)

  def error(self, reason):
    text = self._text
    shown = repr(text if len(text) <= 80 else f"{text[:77]}...")
    return InterchangeError(
      f"{self._where}: {shown} is not a list of numbers as fairseq writes it, "
      f"such as '[(512, 10, 5)] + [(512, 3, 2)] * 4': {reason}; it is never "
      "evaluated."
    )
