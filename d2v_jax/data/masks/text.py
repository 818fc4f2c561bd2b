"""Which tokens of a text are hidden, and what the networks read instead.

`TokenMask` is version 1's, `RandomTokenMask` version 2's.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from d2v_jax.data.layout import PAD, UNK
from d2v_jax.data.masks import blocks, spans
from d2v_jax.data.masks.mask import (
  Mask,
  check_not_empty,
  check_versions,
  check_visible,
  keep_ids,
  unpadded,
)


@dataclasses.dataclass(frozen=True)
class TokenMask:
  """Selects tokens, singly or in spans, and hides most of them.

  Of n tokens always the same number is selected, replaced, kept and hidden.
  The special tokens at both ends may be selected, too.

  Args:
    prob: selected share if spans did not overlap.
    length: tokens in a span.
    random: share of the selected tokens that the student reads as a random
      token (all ids but the first four are equally likely, `<mask>` included).
    keep: share of the selected tokens that the student reads as they are.
    teacher_sees: 'everything', or 'selected': the teacher sees the selected
      tokens only, the others are padding to it.

  Raises:
    ValueError: an argument is outside its range.

  Source: BERT (arXiv 1810.04805), section 3.1, as data2vec (arXiv 2202.03555)
  takes it over; its best text model uses prob 0.35, length 4, random 0 and
  keep 0. In the reference all four numbers vary by chance, and a text may have
  no token selected; here they are rounded means, and at least one is hidden.
  Its loss covers the tokens that the student reads as `<mask>`. So does ours,
  but for random tokens that happen to be `<mask>`, one in a vocabulary.
  By the paper (section 4.3) the teacher sees everything. In the released code
  it is given the training targets of masked language modelling instead, which
  are padding except at selected tokens.
  """

  prob: float = 0.15
  length: int = 1
  random: float = 0.1
  keep: float = 0.1
  teacher_sees: str = "everything"

  num_masks: ClassVar[None] = None

  def __post_init__(self) -> None:
    spans.check_spans("TokenMask", self.prob, self.length)
    if not (self.random >= 0 and self.keep >= 0 and self._shown < 1):
      raise ValueError(
        "TokenMask: random and keep must be >= 0 and together below 1, got "
        f"{self.random} and {self.keep}"
      )
    if self.teacher_sees not in ("everything", "selected"):
      raise ValueError(
        f"TokenMask: unknown teacher_sees {self.teacher_sees!r}; choose one "
        "of: everything, selected"
      )

  @property
  def _shown(self) -> float:
    """Share of the selected tokens that are not hidden."""
    return self.random + self.keep

  def counts(self, num_tokens: int) -> tuple[int, int, int]:
    """Returns how many tokens are selected, hidden, and replaced at random."""
    if num_tokens < 2:
      raise ValueError(
        f"TokenMask: one token has to stay visible, so of {num_tokens} none "
        "can be hidden; leave out texts that short"
      )
    expected = spans.expected_hidden(
      num_tokens, num_tokens, self.prob, self.length, 0
    )
    selected = min(max(1, round(expected)), num_tokens - 1)
    hidden = max(1, round(selected * (1 - self._shown)))
    share = self.random / self._shown if self._shown else 0
    return selected, hidden, round((selected - hidden) * share)

  def check(self, shape: tuple[int, ...], shortest: int | None = None) -> None:
    """Raises ValueError where an example has one token only."""
    self.counts(shape[0] if shortest is None else min(shortest, shape[0]))

  def __call__(
    self, rng: np.random.Generator, example: Mapping[str, Any]
  ) -> dict[str, np.ndarray]:
    """Draws a mask.

    Args:
      rng: the only source of randomness.
      example: `inputs` int [N]; `padding` bool [N], of which at least 2 are
        False; `vocab_size`, `<mask>` (the last id) included.

    Returns:
      `mask` bool [N], True where the student reads `<mask>`. With random
      tokens also `selected` bool [N], True where hidden, replaced or kept.
      `student_inputs` int32 [N], unless they are `inputs` with `<mask>` at
      `mask`. `inputs` int32 [N], only where the teacher sees 'selected'.

    Raises:
      ValueError: there are too few tokens.
    """
    tokens, padding = example["inputs"], example["padding"]  # [N], [N]
    vocab_size, num_tokens = example["vocab_size"], unpadded(padding)
    num_selected, num_hidden, num_random = self.counts(num_tokens)
    selected = np.zeros(len(tokens), bool)  # [N]
    selected[:num_tokens] = spans.draw_spans(
      rng, num_tokens, num_tokens, self.length, num_selected
    )
    # The selected positions in random order: first those to hide, then those
    # to replace; the rest is kept.
    positions = rng.permutation(np.flatnonzero(selected))
    hidden = np.zeros(len(tokens), bool)  # [N]
    hidden[positions[:num_hidden]] = True
    student = np.array(tokens, np.int32)  # [N]
    student[hidden] = vocab_size - 1
    replaced = positions[num_hidden : num_hidden + num_random]
    student[replaced] = rng.integers(UNK + 1, vocab_size, len(replaced))
    out = {"mask": hidden}
    if self.random > 0:
      out |= {"selected": selected, "student_inputs": student}
    if self.teacher_sees == "selected":
      seen = np.where(selected, tokens, np.int32(PAD))  # [N]
      out |= {"student_inputs": student, "inputs": seen}
    return out


@dataclasses.dataclass(frozen=True)
class RandomTokenMask:
  """Masks of a text that hide single tokens, all choices equally likely.

  Args:
    num_masks: masks M of each text.
    ratio: hidden share of the tokens without padding; 1 - ratio is cut off to
      whole tokens, of which one at least stays visible.

  Raises:
    ValueError: an argument is outside its range.

  Source: data2vec 2.0 (arXiv 2212.07525). The default is that of the base model
  (266 of 512 tokens visible); the large one has ratio 0.5. To the release
  padding is tokens like others: it is hidden and predicted, too, and a short
  text has by chance more or fewer visible tokens. Ours hide no padding, and of
  n tokens always as many; without padding there is no difference.
  """

  num_masks: int = 8
  ratio: float = 0.48

  def __post_init__(self) -> None:
    check_versions("RandomTokenMask", self.num_masks, self.ratio)

  def num_visible(self, total: int) -> int:
    """Returns V for batches of `total` tokens.

    Raises:
      ValueError: so few tokens that none of them would be visible.
    """
    visible = int(total * (1 - self.ratio))
    check_visible("RandomTokenMask", visible, total, "tokens", self.ratio)
    return visible

  def check(self, shape: tuple[int, ...], shortest: int | None = None) -> None:
    """Raises ValueError where no token of a batch would be visible."""
    self.num_visible(shape[0])
    if shortest is not None:
      check_not_empty("RandomTokenMask", shortest, "tokens")

  def __call__(
    self, rng: np.random.Generator, example: Mapping[str, Any]
  ) -> dict[str, np.ndarray]:
    """Returns `mask` bool [M, N] and `keep_ids` int32 [M, V].

    Args:
      rng: the only source of randomness.
      example: with `padding` bool [N], of which at least one is False.

    Raises:
      ValueError: there are too few tokens.
    """
    padding = example["padding"]
    total, num_tokens = len(padding), unpadded(padding)
    check_not_empty("RandomTokenMask", num_tokens, "tokens")
    visible = max(1, int(num_tokens * (1 - self.ratio)))
    none = np.zeros((self.num_masks, num_tokens), bool)
    mask = np.zeros((self.num_masks, total), bool)  # [M, N]
    mask[:, :num_tokens] = ~blocks.force_count(rng, none, visible)
    return {"mask": mask, "keep_ids": keep_ids(mask, self.num_visible(total))}


MASKS: dict[str, type[Mask]] = {
  "random_tokens": RandomTokenMask,
  "tokens": TokenMask,
}
