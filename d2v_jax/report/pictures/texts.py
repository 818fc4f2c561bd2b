"""Draws texts token by token."""

import dataclasses
from typing import Any

import numpy as np

from d2v_jax.data.layout import BOS, EOS, PAD, UNK
from d2v_jax.report.markup import Element, tag
from d2v_jax.report.pictures.drawer import Row

_NAMES = {BOS: "<s>", PAD: "<pad>", EOS: "</s>", UNK: "<unk>"}
# A page shows the beginning of a long text.
_MOST_TOKENS = 160


@dataclasses.dataclass(frozen=True)
class TextDrawer:
  """Draws sequences of tokens.

  Args:
    tokenizer: which says what the ids stand for.
    vocab_size: number of ids, of which the last is <mask>.
  """

  tokenizer: Any
  vocab_size: int

  def tokens(self, row: Row) -> int:
    """See `Drawer`."""
    return len(_real(row))

  def plain(self, row: Row) -> Element:
    """See `Drawer`."""
    tokens = _real(row)[:_MOST_TOKENS]
    return tag("p", *(self._token(x) for x in tokens), class_="tokens")

  def hidden(self, row: Row, mask: np.ndarray) -> Element:
    """See `Drawer`."""
    tokens = _real(row)
    student = row.get("student_inputs")
    made = tag("p", class_="tokens")
    for i, token in enumerate(tokens[:_MOST_TOKENS]):
      if not mask[i]:
        made.append(self._token(token))
        continue
      reads = "<mask>" if student is None else self._name(student[i])
      made.append(
        self._token(token, class_="hidden", title=f"the student reads {reads}")
      )
    return made

  def coloured(self, row: Row, colours: np.ndarray) -> Element:
    """See `Drawer`."""
    made = tag("p", class_="tokens")
    tokens = _real(row)[:_MOST_TOKENS]
    for token, (r, g, b) in zip(tokens, colours.tolist(), strict=False):
      light = 0.3 * r + 0.59 * g + 0.11 * b > 128
      ink = "000" if light else "fff"
      style = f"background:#{r:02x}{g:02x}{b:02x};color:#{ink}"
      made.append(self._token(token, style=style))
    return made

  def marked(self, row: Row, token: int) -> Element:
    """See `Drawer`."""
    made = tag("p", class_="tokens")
    for i, x in enumerate(_real(row)[:_MOST_TOKENS]):
      made.append(self._token(x, class_="frame" if i == token else None))
    return made

  def _token(self, token: int, **attributes: object) -> Element:
    return tag("span", self._name(token), **attributes)

  def _name(self, token: int) -> str:
    if int(token) == self.vocab_size - 1:
      return "<mask>"
    return _NAMES.get(int(token)) or str(self.tokenizer.decode([int(token)]))


def _real(row: Row) -> np.ndarray:
  """The tokens before the padding."""
  tokens = row["inputs"]
  return tokens[tokens != PAD]
