"""Text transforms: sequences padded to a batch's length, and masked."""

import dataclasses
from collections.abc import Callable

import numpy as np

from d2v_jax.data.layout import PAD, UNK
from d2v_jax.data.masks.mask import Mask
from d2v_jax.data.ranges import check_range
from d2v_jax.data.source import Example
from d2v_jax.data.text import examples

Labels = Callable[[Example], np.ndarray]


@dataclasses.dataclass(frozen=True)
class TextTrainTransform:
  """Pads a sequence to the batch's length, and masks it.

  Args:
    vocab_size: number of ids.
    mask: what chooses tokens, once or several times; None for no mask
      (fine-tuning).
    labels: example -> label; None for no labels (pretraining).

  Raises:
    ValueError: when called, an id that the model does not have.
  """

  vocab_size: int
  mask: Mask | None = None
  labels: Labels | None = None

  def __post_init__(self) -> None:
    _check_vocab_size("TextTrainTransform", self.vocab_size)

  def check_length(self, length: int, shortest: int | None = None) -> None:
    """Raises ValueError where examples of a batch cannot be masked.

    Args:
      length: N of the batch, in tokens.
      shortest: tokens of the shortest example; None for N.
    """
    if self.mask is not None:
      self.mask.check((length,), shortest)

  def __call__(self, example: Example, rng: np.random.Generator) -> Example:
    """Prepares one example.

    Args:
      example: 'tokens' int32 [n]; 'length' N of the batch; what `labels` needs;
        'requested' and 'record' are handed on.
      rng: the only source of randomness.

    Returns:
      'inputs' int32 [N]; with a mask, what it gives ('mask' bool [N], True =
      hidden and predicted, or of M masks [M, N] and 'keep_ids' int32 [M, V],
      ...; see `Mask`); with labels, 'label'; and what is handed on.
    """
    length = example["length"]
    tokens = _cut(example["tokens"], length, self.vocab_size)
    out = {"inputs": _padded(tokens, length)}
    if self.mask is not None:
      text = {
        "inputs": out["inputs"],
        "padding": np.arange(length) >= len(tokens),  # [N]
        "vocab_size": self.vocab_size,
      }
      out |= self.mask(rng, text)
    if self.labels is not None:
      out["label"] = self.labels(example)
    return out | {k: example[k] for k in ("requested", "record")}

  def kept(self, example: Example, rng: np.random.Generator) -> float:
    """Returns the share of a sequence that fits into the batch's length."""
    del rng  # nothing is drawn: it is cut at the end
    total = len(example["tokens"])
    return min(total, int(example["length"])) / total


@dataclasses.dataclass(frozen=True)
class TextEvalTransform:
  """Pads a sequence to the batch's length.

  Args:
    vocab_size: number of ids.
    labels: example -> label; None for no labels.

  Raises:
    ValueError: when called, an id that the model does not have.
  """

  vocab_size: int
  labels: Labels | None = None

  def __post_init__(self) -> None:
    _check_vocab_size("TextEvalTransform", self.vocab_size)

  def __call__(self, example: Example) -> Example:
    """Prepares one example.

    Args:
      example: 'tokens' int32 [n]; 'length' N of the batch; what `labels` needs.

    Returns:
      'inputs' int32 [N] and, with labels, 'label'.
    """
    length = example["length"]
    tokens = _cut(example["tokens"], length, self.vocab_size)
    out = {"inputs": _padded(tokens, length)}
    if self.labels is not None:
      out["label"] = self.labels(example)
    return out


def _check_vocab_size(name: str, vocab_size: int) -> None:
  """There are four special tokens and <mask>; ids are int32."""
  check_range(name, "vocab_size", vocab_size, UNK + 2, 2**31 - 1)


def _cut(tokens: np.ndarray, length: int, vocab_size: int) -> np.ndarray:
  if tokens.max() >= vocab_size:
    raise ValueError(
      f"a sequence has the token id {tokens.max()}, but encoder.vocab_size is "
      f"{vocab_size}"
    )
  return examples.cut(tokens, length)


def _padded(tokens: np.ndarray, length: int) -> np.ndarray:
  return np.pad(tokens, (0, length - len(tokens)), constant_values=PAD)
