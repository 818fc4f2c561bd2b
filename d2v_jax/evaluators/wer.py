"""Word and character error rates of transcripts."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Mapping
from typing import Any

import jiwer
import numpy as np

from d2v_jax import config as config_lib
from d2v_jax.data.labels import Letters
from d2v_jax.decoding.beam import BeamSearch, collapse
from d2v_jax.evaluators.features import Predictions, SplitFeatures

_PROGRESS_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Wer:
  """Error rates of CTC's transcripts, over a whole split.

  Args:
    labels: Letters of the labels; config.data.labels.
    split: Which split.
    decoder: None takes the likeliest letter of each frame; or the arguments of
      `ctc_decoding.BeamSearch`, such as dict(beam=50, lm="lm.arpa.gz").

  Raises:
    ValueError: If the labels are not letters, or the decoder cannot be built.

  Source: data2vec's results, without a language model and with one.
  """

  labels: Letters
  split: str = "test"
  decoder: Mapping[str, Any] | None = None

  def __post_init__(self):
    if not isinstance(self.labels, Letters):
      raise ValueError(
        "Wer: config.data.labels must be letters, got "
        f"{type(self.labels).__name__}; set config.data.labels.name='letters', "
        "or remove this evaluator"
      )
    search = None
    if self.decoder is not None:
      # Now, since a run should not end with an error about its last step.
      search = config_lib.call(
        BeamSearch, self.decoder, "Wer: decoder", letters=self.labels
      )
    object.__setattr__(self, "_search", search)

  @property
  def features(self) -> Predictions:
    """What this evaluator asks for."""
    return Predictions(self.split, scores=self._search is not None)

  def __call__(self, features: SplitFeatures) -> dict[str, float]:
    """Returns `wer` and `cer`: edits over reference words or characters.

    The space between words counts as a character. Rates may be above 1.

    Args:
      features: The split's frame-wise predictions [n, N] int32, or with a
        decoder log-probabilities [n, N, V]; and letter numbers [n, U], filled
        with -1.

    Raises:
      ValueError: If they are something else, or no reference has a word.
    """
    x, y = features[self.split]
    _check("labels", self.split, y, 2, np.integer)
    if self._search is None:
      _check("predictions", self.split, x, 2, np.integer)
    else:
      _check("scores", self.split, x, 3, np.floating)
    references = [self.labels.text(row) for row in y]
    if not any(references):
      raise ValueError(f"Wer: no transcript of split {self.split!r} has a word")
    hypotheses = [self.labels.text(labels) for labels in self._decoded(x)]
    return {
      "wer": float(jiwer.wer(references, hypotheses)),
      "cer": float(jiwer.cer(references, hypotheses)),
    }

  def _decoded(self, x):
    if self._search is None:
      yield from map(collapse, x)
      return
    shown = time.monotonic()
    for done, scores in enumerate(x):
      if time.monotonic() - shown >= _PROGRESS_SECONDS:
        shown = time.monotonic()
        text = f"decoded {done} of {len(x)} utterances of {self.split}"
        print(text, file=sys.stderr, flush=True)
      yield self._search(scores).labels


def _check(what, split, array, ndim, kind):
  if (
    array is None or array.ndim != ndim or not np.issubdtype(array.dtype, kind)
  ):
    found = "absent" if array is None else f"{array.dtype} {array.shape}"
    wanted = "rows of letter numbers" if ndim == 2 else "scores of letters"
    raise ValueError(
      f"Wer: {what} of split {split!r} are {found}; this evaluator needs "
      f"{wanted}, as objective 'ctc' has them"
    )
