"""Text transforms: sequences padded to a batch's length, and masked."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from d2v_jax.data.layout import PAD
from d2v_jax.data.masks.blocks import keep_ids
from d2v_jax.data.masks.text import RandomMasks, TokenMask
from d2v_jax.data.text import sequences

Example = dict[str, Any]
Labels = Callable[[Example], np.ndarray]


@dataclasses.dataclass(frozen=True)
class TrainTransform:
  """Pads a sequence to the batch's length, and masks it.

  Args:
    vocab_size: number of ids.
    mask: what chooses tokens, once or several times; None for no mask
      (fine-tuning).
    labels: example -> label; None for no labels (pretraining).
    teacher_sees: 'everything', or 'selected': the teacher sees the chosen
      tokens only, the others are padding to it.

  Raises:
    ValueError: unknown `teacher_sees`, 'selected' without a mask or with
      several, or, when called, an id that the model does not have.

  Source: data2vec (arXiv 2202.03555) section 4.3; by the paper the teacher sees
  everything. In the released code it is given the training targets of masked
  language modelling instead, which are padding except at chosen tokens.
  """

  vocab_size: int
  mask: TokenMask | RandomMasks | None = None
  labels: Labels | None = None
  teacher_sees: str = "everything"

  def __post_init__(self):
    if self.teacher_sees not in ("everything", "selected"):
      raise ValueError(
        f"TrainTransform: unknown teacher_sees {self.teacher_sees!r}; choose "
        "one of: everything, selected"
      )
    if self.teacher_sees == "selected" and self.mask is None:
      raise ValueError(
        "TrainTransform: teacher_sees='selected' needs a mask; set one or "
        "leave teacher_sees out"
      )
    if self.teacher_sees == "selected" and isinstance(self.mask, RandomMasks):
      raise ValueError(
        "TrainTransform: teacher_sees='selected' goes with one mask of a text, "
        "not with several; leave teacher_sees out"
      )

  def check_length(self, length: int) -> None:
    """Raises ValueError where batches of `length` tokens cannot be masked."""
    if isinstance(self.mask, RandomMasks):
      self.mask.num_visible(length)

  def __call__(self, example: Example, rng: np.random.Generator) -> Example:
    """Prepares one example.

    Args:
      example: 'tokens' int32 [n]; 'length' N of the batch; what `labels` needs;
        'requested' and 'record' are handed on.
      rng: the only source of randomness.

    Returns:
      'inputs' int32 [N]; with a mask, 'mask' bool [N], True = hidden and
      predicted; with labels, 'label'; and what is handed on. 'student_inputs'
      int32 [N] only when they may differ from `inputs` with <mask> where
      `mask` is; 'selected' bool [N], what the mask chose, only when it leaves
      some of that or replaces it at random. Of M masks 'mask' is bool [M, N],
      and with them comes 'keep_ids' int32 [M, V]: the visible tokens, all the
      real ones, then as much padding as makes them V.
    """
    length = example["length"]
    tokens = _cut(example["tokens"], length, self.vocab_size)
    out = {"inputs": _padded(tokens, length, PAD)}
    if isinstance(self.mask, RandomMasks):
      out["mask"] = self.mask(rng, len(tokens), length)
      out["keep_ids"] = keep_ids(out["mask"], self.mask.num_visible(length))
    elif self.mask is not None:
      hidden, selected, student = self.mask(
        rng, len(tokens), self.vocab_size, tokens
      )
      out["mask"] = _padded(hidden, length, False)
      if self.mask.changes_tokens or self.teacher_sees == "selected":
        out["student_inputs"] = _padded(student, length, PAD)
      if self.mask.changes_tokens:
        out["selected"] = _padded(selected, length, False)
      if self.teacher_sees == "selected":
        seen = np.where(selected, tokens, np.int32(PAD))
        out["inputs"] = _padded(seen, length, PAD)
    if self.labels is not None:
      out["label"] = self.labels(example)
    return out | {k: example[k] for k in ("requested", "record")}


@dataclasses.dataclass(frozen=True)
class EvalTransform:
  """Pads a sequence to the batch's length.

  Args:
    vocab_size: number of ids.
    labels: example -> label; None for no labels.

  Raises:
    ValueError: when called, an id that the model does not have.
  """

  vocab_size: int
  labels: Labels | None = None

  def __call__(self, example: Example) -> Example:
    """Prepares one example.

    Args:
      example: 'tokens' int32 [n]; 'length' N of the batch; what `labels` needs.

    Returns:
      'inputs' int32 [N] and, with labels, 'label'.
    """
    length = example["length"]
    tokens = _cut(example["tokens"], length, self.vocab_size)
    out = {"inputs": _padded(tokens, length, PAD)}
    if self.labels is not None:
      out["label"] = self.labels(example)
    return out


def _cut(tokens: np.ndarray, length: int, vocab_size: int) -> np.ndarray:
  if tokens.max() >= vocab_size:
    raise ValueError(
      f"a sequence has the token id {tokens.max()}, but encoder.vocab_size is "
      f"{vocab_size}"
    )
  return sequences.cut(tokens, length)


def _padded(values: np.ndarray, length: int, fill: int | bool) -> np.ndarray:
  return np.pad(values, (0, length - len(values)), constant_values=fill)
