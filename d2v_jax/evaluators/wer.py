"""Word and character error rates of transcripts."""

from __future__ import annotations

import dataclasses

import jiwer
import numpy as np

from d2v_jax.data.labels import Letters
from d2v_jax.evaluators.features import Predictions, SplitFeatures


@dataclasses.dataclass(frozen=True)
class Wer:
  """Error rates of greedy CTC decoding, over a whole split.

  Args:
    labels: Letters of the labels; config.data.labels.
    split: Which split.

  Raises:
    ValueError: If the labels are not letters.

  Source: data2vec's results without a language model.
  """

  labels: Letters
  split: str = "test"

  def __post_init__(self):
    if not isinstance(self.labels, Letters):
      raise ValueError(
        "Wer: config.data.labels must be letters, got "
        f"{type(self.labels).__name__}; set config.data.labels.name='letters', "
        "or remove this evaluator"
      )

  @property
  def features(self) -> Predictions:
    """What this evaluator asks for."""
    return Predictions(self.split)

  def __call__(self, features: SplitFeatures) -> dict[str, float]:
    """Returns `wer` and `cer`: edits over reference words or characters.

    The space between words counts as a character. Rates may be above 1.

    Args:
      features: The split's frame-wise predictions [n, N] int32 and letter
        numbers [n, U], filled with -1.

    Raises:
      ValueError: If they are something else, or no reference has a word.
    """
    x, y = features[self.split]
    for what, ids in (("predictions", x), ("labels", y)):
      if (
        ids is None or ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer)
      ):
        found = "absent" if ids is None else f"{ids.dtype} {ids.shape}"
        raise ValueError(
          f"Wer: {what} of split {self.split!r} are {found}; this evaluator "
          "needs rows of letter numbers, as objective 'ctc' has them"
        )
    references = [self.labels.text(row) for row in y]
    if not any(references):
      raise ValueError(f"Wer: no transcript of split {self.split!r} has a word")
    hypotheses = [self.labels.text(collapse(row)) for row in x]
    return {
      "wer": float(jiwer.wer(references, hypotheses)),
      "cer": float(jiwer.cer(references, hypotheses)),
    }


def collapse(frames: np.ndarray) -> np.ndarray:
  """Labels of a CTC path [N]: repeats count once, then blanks (0) go."""
  first = np.append(True, frames[1:] != frames[:-1])
  return frames[first & (frames != 0)]
