"""Which tokens of a text are hidden, and what the student reads instead.

`TokenMask` is version 1's, `RandomMasks` version 2's.
"""

import dataclasses

import numpy as np

from d2v_jax.data.masks import blocks, spans

_NUM_SPECIAL = 4  # <s>, <pad>, </s>, <unk>; <mask> is the last id


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

  Raises:
    ValueError: an argument is outside its range.

  Source: BERT (arXiv 1810.04805), section 3.1, as data2vec (arXiv 2202.03555)
  takes it over; its best text model uses prob 0.35, length 4, random 0 and
  keep 0. In the reference all four numbers vary by chance, and a text may have
  no token selected; here they are rounded means, and at least one is hidden.
  Its loss covers the tokens that the student reads as `<mask>`. So does ours,
  but for random tokens that happen to be `<mask>`, one in a vocabulary.
  """

  prob: float = 0.15
  length: int = 1
  random: float = 0.1
  keep: float = 0.1

  def __post_init__(self):
    spans.check_spans("TokenMask", self.prob, self.length)
    if min(self.random, self.keep) < 0 or self.random + self.keep >= 1:
      raise ValueError(
        "TokenMask: random and keep must be >= 0 and together below 1, got "
        f"{self.random} and {self.keep}"
      )

  @property
  def changes_tokens(self) -> bool:
    """Whether the student reads tokens that are neither `<mask>` nor true."""
    return self.random > 0

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
    other = self.random + self.keep
    hidden = max(1, round(selected * (1 - other)))
    share = self.random / other if other else 0
    return selected, hidden, round((selected - hidden) * share)

  def __call__(
    self,
    rng: np.random.Generator,
    num_tokens: int,
    vocab_size: int,
    tokens: np.ndarray,
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws a mask.

    Args:
      rng: the only source of randomness.
      num_tokens: real tokens, at least 2; those after them are padding.
      vocab_size: number of ids, `<mask>` (the last one) included.
      tokens: int [N], N >= `num_tokens`.

    Returns:
      hidden: bool [N], True where the student reads `<mask>` and the loss
        applies; never True in the padding, like the next.
      selected: bool [N], True where hidden, replaced or kept.
      student_tokens: int32 [N], what the student reads.

    Raises:
      ValueError: an argument is outside its range.
    """
    size = len(tokens)
    if num_tokens > size:
      raise ValueError(
        f"TokenMask: num_tokens={num_tokens} real tokens are more than the "
        f"{size} given"
      )
    if vocab_size <= _NUM_SPECIAL:
      raise ValueError(
        "TokenMask: vocab_size must be at least 5 (four special tokens and "
        f"<mask>), got {vocab_size}"
      )
    num_selected, num_hidden, num_random = self.counts(num_tokens)
    selected = np.zeros(size, bool)
    selected[:num_tokens] = spans.draw_spans(
      rng, num_tokens, num_tokens, self.length, num_selected
    )
    places = rng.permutation(np.flatnonzero(selected))
    hidden = np.zeros(size, bool)
    hidden[places[:num_hidden]] = True
    student_tokens = np.array(tokens, np.int32)
    student_tokens[hidden] = vocab_size - 1
    replaced = places[num_hidden : num_hidden + num_random]
    student_tokens[replaced] = rng.integers(
      _NUM_SPECIAL, vocab_size, len(replaced)
    )
    return hidden, selected, student_tokens


@dataclasses.dataclass(frozen=True)
class RandomMasks:
  """Masks of a text that hide single tokens, all choices equally likely.

  Args:
    num_masks: masks M of each text.
    ratio: hidden share of the real tokens; 1 - ratio is cut off to whole
      tokens, of which one at least stays visible.

  Raises:
    ValueError: an argument is outside its range.

  Source: data2vec 2.0 (arXiv 2212.07525). The default is that of the base model
  (266 of 512 tokens visible); the large one has ratio 0.5. To the release
  padding is tokens like others: it is hidden and predicted, too, and a short
  text has by chance more or fewer visible tokens. Ours hide real tokens only,
  and of n always as many; without padding there is no difference.
  """

  num_masks: int = 8
  ratio: float = 0.48

  def __post_init__(self):
    blocks.check_versions("RandomMasks", self.num_masks, self.ratio)

  def num_visible(self, total: int) -> int:
    """Returns V for batches of `total` tokens.

    Raises:
      ValueError: so few tokens that none of them would be visible.
    """
    visible = int(total * (1 - self.ratio))
    blocks.check_visible("RandomMasks", visible, total, "tokens", self.ratio)
    return visible

  def __call__(
    self, rng: np.random.Generator, num_tokens: int, total: int
  ) -> np.ndarray:
    """Draws masks.

    Args:
      rng: the only source of randomness.
      num_tokens: real tokens, at least 1; those after them are padding.
      total: tokens N, padding included.

    Returns:
      bool [M, N], True = hidden; never True in the padding.

    Raises:
      ValueError: `num_tokens` is below 1 or above `total`.
    """
    blocks.check_real("RandomMasks", num_tokens, total, "tokens")
    visible = max(1, int(num_tokens * (1 - self.ratio)))
    mask = np.zeros((self.num_masks, total), bool)
    none = np.zeros((self.num_masks, num_tokens), bool)
    mask[:, :num_tokens] = ~blocks.force_count(rng, none, visible)
    return mask


MASKS = {"random": RandomMasks, "token": TokenMask}
