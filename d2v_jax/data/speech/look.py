"""What is seen of one recording when data are checked."""

import io
import math

import numpy as np
import soundfile

from d2v_jax.data.checking.look import Look, digest
from d2v_jax.data.files.content import look_of
from d2v_jax.data.source import Record
from d2v_jax.data.speech import containers, decoding


def look(record: Record, max_seconds: float) -> Look:
  """Looks at a recording as training hears it before it is cropped.

  The digest is of the samples after resampling, so that the same sound in
  another file or of another format is found, if nothing was lost.

  Args:
    record: 'audio', bytes of a file, or floating-point [n] or [n, channels]
      with 'rate'; and 'text' if there is one.
    max_seconds: longer ones are refused.

  Raises:
    Unreadable: it cannot be decoded, or is silent.
  """
  data = record["audio"]
  samples, rate = decoding.stored(data, record.get("rate"), max_seconds)
  sound = decoding.converted(samples, rate)
  decoding.check_sound(sound)
  level = math.sqrt(np.square(sound, dtype=np.float64).mean())
  numbers = {
    "length, seconds": len(samples) / rate,
    "level, dBFS": 20 * math.log10(level),
  }
  if "text" in record:
    numbers["transcript, characters"] = len(record["text"])
  return Look(
    digest=digest([sound]),
    numbers=numbers,
    kinds={
      "format": _format(data),
      "channels": str(1 if samples.ndim == 1 else samples.shape[1]),
      "rate": f"{rate} Hz",
    },
  )


def _format(data: bytes | np.ndarray) -> str:
  """Returns for example 'WAV PCM_16', of a file that can be decoded."""
  if isinstance(data, np.ndarray):
    return f"array {data.dtype}"
  try:
    info = soundfile.info(io.BytesIO(containers.whole(data)))
  except soundfile.SoundFileError:  # another library's part
    return look_of(data)
  return f"{info.format} {info.subtype}"
