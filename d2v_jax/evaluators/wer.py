"""Word and character error rates of transcripts."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence

import jiwer
import numpy as np

from d2v_jax.config import FromRun
from d2v_jax.data.labels import Characters, Labels
from d2v_jax.decoding.beam import BeamSearch, collapse
from d2v_jax.evaluators.features import Predictions, SplitFeatures

_PROGRESS_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Wer:
  """Error rates of CTC's transcripts, over a whole split.

  Args:
    labels: config.data.labels.
    split: Which split.
    decoder: Finds the transcript; None takes the likeliest of each frame.

  Raises:
    ValueError: If the labels are not characters.

  Source: data2vec's results, without a language model and with one.
  """

  labels: FromRun[Labels | None]
  split: str = "test"
  decoder: BeamSearch | None = None

  def __post_init__(self) -> None:
    if not isinstance(self.labels, Characters):
      raise ValueError(
        "Wer: config.data.labels must be characters, got "
        f"{type(self.labels).__name__}; set "
        "config.data.labels.name='characters', or remove this evaluator"
      )

  @property
  def features(self) -> Predictions:
    """What this evaluator asks for."""
    return Predictions(self.split, scores=self.decoder is not None)

  def __call__(self, features: SplitFeatures) -> dict[str, float]:
    """Returns `wer` and `cer`: edits over reference words or characters.

    The space between words counts as a character. Rates may be above 1.

    Args:
      features: The split's frame-wise predictions [n, N] int32, or with a
        decoder log-probabilities [n, N, V]; and character numbers [n, U],
        filled with -1.

    Raises:
      ValueError: If they are something else, or no reference has a word.
    """
    outputs, labels = features[self.split]
    y = _checked("labels", self.split, labels, 2, np.integer)
    if self.decoder is None:
      x = _checked("predictions", self.split, outputs, 2, np.integer)
    else:
      x = _checked("scores", self.split, outputs, 3, np.floating)
    assert isinstance(self.labels, Characters)  # see __post_init__
    references = [self.labels.text(u) for u in y.tolist()]
    if not any(references):
      raise ValueError(f"Wer: no transcript of split {self.split!r} has a word")
    hypotheses = [self.labels.text(u) for u in self._decoded(x)]
    return {
      "wer": float(jiwer.wer(references, hypotheses)),
      "cer": float(jiwer.cer(references, hypotheses)),
    }

  def _decoded(self, x: np.ndarray) -> Iterator[Sequence[int]]:
    """Labels [u] of each utterance."""
    if self.decoder is None:
      yield from (collapse(frames).tolist() for frames in x)
      return
    shown = time.monotonic()
    for done, scores in enumerate(x):
      if time.monotonic() - shown >= _PROGRESS_SECONDS:
        shown = time.monotonic()
        text = f"decoded {done} of {len(x)} utterances of {self.split}"
        print(text, file=sys.stderr, flush=True)
      yield self.decoder(scores).labels


def _checked(
  what: str, split: str, array: np.ndarray | None, ndim: int, kind: type
) -> np.ndarray:
  if (
    array is not None
    and array.ndim == ndim
    and np.issubdtype(array.dtype, kind)
  ):
    return array
  got = "absent" if array is None else f"{array.dtype} {array.shape}"
  needed = "rows of character numbers" if ndim == 2 else "scores of characters"
  raise ValueError(
    f"Wer: {what} of split {split!r} are {got}; this evaluator needs {needed}, "
    "as objective 'ctc' has them"
  )
