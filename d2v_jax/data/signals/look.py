"""What is seen of one signal when data are checked."""

import numpy as np

from d2v_jax.data.checking.look import Look, digest
from d2v_jax.data.signals.examples import check_channels, check_finite
from d2v_jax.data.signals.normalise import Normalisation
from d2v_jax.data.source import Record


def look(record: Record, channels: int, normalise: Normalisation) -> Look:
  """Looks at a signal as it is stored.

  The digest is of its numbers, so that the same signal is found in integers and
  in floats.

  Args:
    record: 'signal', numbers [T, C].
    channels: C of the encoder.
    normalise: what training puts signals through.

  Raises:
    Unreadable: it has other channels, values that are missing, or it is
      constant where it is normalised by itself.
  """
  signal = record["signal"]
  check_channels(signal, channels)
  check_finite(signal)
  normalise(signal)
  exact = signal.astype(np.float64)  # [T, C]
  still = np.flatnonzero(np.ptp(exact, axis=0) == 0)
  oddity = ""
  if len(still):
    names = ", ".join(map(str, still))
    oddity = f"channel{'s' * (len(still) > 1)} {names} constant"
  return Look(
    digest=digest([exact]),
    numbers={
      "length, samples": len(exact),
      "smallest value": exact.min(),
      "largest value": exact.max(),
    },
    kinds={"values": str(signal.dtype), "channels": str(exact.shape[1])},
    moments=np.stack([exact.mean(0), np.square(exact).mean(0)]),
    oddity=oddity,
  )
