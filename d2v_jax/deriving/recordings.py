"""Rules for recordings: from what they are to the fields of a config."""

import dataclasses

import numpy as np

from d2v_jax.data import length_report
from d2v_jax.deriving import shared
from d2v_jax.deriving.marks import Chosen

RATE = 16_000
_MANY = 1_000  # recordings, from which on the network is audio_folder's
_SHORT = 0.5  # seconds; shorter ones are heard more finely
_LONGEST = 10.0  # seconds of a batch, beyond which recordings are cropped
_LONG = 4.0  # seconds, beyond which a batch has half as many
_BUCKETS = 3
_MULTIPLE = 1_600  # samples
# What is heard: 100 frames a second as in tones.py, 50 as in audio_folder.py.
_FINE = ((64, 10, 5), *((64, 3, 2),) * 4, (64, 2, 2))
_USUAL = ((64, 16, 8), (96, 10, 5), *((128, 4, 2),) * 2, (128, 2, 2))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordingFindings:
  """What some recordings show.

  Attributes:
    count: recordings that can be used.
    seconds: length of each that was looked at.
  """

  count: int
  seconds: tuple[float, ...]


def choose(
  found: RecordingFindings, chosen: Chosen, small: bool, devices: int
) -> bool:
  """Chooses what depends on the recordings; see `images.choose`."""
  small = small or found.count < _MANY
  middle = float(np.median(found.seconds))
  fine = middle < _SHORT
  why = (
    f"half of the recordings are {'under' if fine else 'over'} {middle:.2f} s"
  )
  chosen.take("encoder.conv_layers", _FINE if fine else _USUAL, why)
  chosen.take("data.mask.length", 4 if fine else 5, why)
  lengths = chosen.take(
    "data.buckets.lengths",
    _lengths(found.seconds, fine),
    f"least padding; 95 of 100 are of {np.quantile(found.seconds, 0.95):.2f} s "
    "or less",
  )
  what = "as in tones.py" if small else "as in audio_folder.py"
  what += f", {found.count} recordings"
  shared.network(chosen, *((96, 3) if small else (192, 4)), what)
  chosen.take("encoder.position_depth", 2 if small else 3, what)
  chosen.take("encoder.position_width", 18 if small else 27, what)
  chosen.take("encoder.position_groups", 8 if small else 16, what)
  chosen.take("encoder.dropout", 0.0 if small else 0.1, what)
  long = max(lengths) > _LONG * RATE
  shared.batch_size(chosen, found.count, 16 if long else 32, devices)
  return small


def averages(total_steps: int) -> tuple[float, float]:
  """The teacher's decay at the start and the end of a run of such a length."""
  # tones.py has 600 updates, audio_folder.py 2,000.
  return (0.99, 0.999) if total_steps < 1_000 else (0.999, 0.9998)


def _lengths(seconds: tuple[float, ...], fine: bool) -> tuple[int, ...]:
  """Lengths of batches in samples."""
  longest = min(float(np.quantile(seconds, 0.95)), _LONGEST)
  samples = np.minimum(np.asarray(seconds), longest) * RATE
  samples = np.maximum(samples.round().astype(np.int64), 1)
  # The shortest batches of the config that the frames are of.
  floor = 4_800 if fine else 8_000
  buckets = length_report.best_buckets(samples, _BUCKETS, _MULTIPLE)
  return tuple(sorted({max(x, floor) for x in buckets.lengths}))
