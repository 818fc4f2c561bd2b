"""What is seen of one recording, and of its spectrogram, in a check of data."""

import dataclasses

import numpy as np

from d2v_jax.data import mel
from d2v_jax.data.checking.look import Look
from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.source import Record
from d2v_jax.data.speech import decoding
from d2v_jax.data.speech import look as speech_look


def look(record: Record, max_seconds: float, bands: int) -> Look:
  """Looks at a recording, and at the values of its log-mel frames.

  Args:
    record: see `speech.look`.
    max_seconds: longer ones are refused.
    bands: of the mel scale.

  Raises:
    Unreadable: it cannot be decoded, is silent, or has no frame.
  """
  seen = speech_look.look(record, max_seconds)
  samples = decoding.decode(
    record["audio"], record.get("rate"), mel.RATE, max_seconds
  )
  if len(samples) < mel.WINDOW:
    raise Unreadable(f"too short: {len(samples)} samples")
  frames = mel.log_mel(decoding.normalise(samples), bands)
  exact = frames.astype(np.float64)
  moments = np.array([[exact.mean()], [np.square(exact).mean()]])
  return dataclasses.replace(seen, moments=moments)
