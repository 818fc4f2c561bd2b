"""Encoded audio to float32 samples, and why some of it cannot be used."""

import io
import os
import pathlib
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from d2v_jax.data.files.content import look_of
from d2v_jax.data.files.unreadable import Unreadable, check_file
from d2v_jax.data.speech import containers, mpeg4

SAMPLE_RATE = 16_000
MAX_SECONDS = 1800.0
VARIANCE_FLOOR = 1e-5

_SILENCE = 1e-4  # -80 dB; the least step of 16 bits is 3e-5
_BLOCK = 1 << 20
_UNKNOWN = 1 << 62  # libsndfile's count when the header has none is above it
_LEAST_RATE = 1000  # fewer samples a second are no sound
_MOST_SAMPLES = 96_000  # of all channels, for each second that is allowed
_CANCELLED = 0.1  # of the loudest channel is left in the mean
_KINDS = {"WAV", "WAVEX", "RF64", "AIFF", "FLAC", "OGG", "MP3"}


def decode(
  data: bytes | np.ndarray,
  rate: int | None = None,
  sample_rate: int = SAMPLE_RATE,
  max_seconds: float = MAX_SECONDS,
) -> np.ndarray:
  """Decodes an utterance, or says why it cannot be used.

  Channels are averaged; where they cancel each other, as in stereo of opposite
  phase, the loudest is taken alone. Then the sampling rate is converted (soxr,
  high quality). Bytes behind the sound do no harm.

  Args:
    data: bytes of a whole WAV, AIFF, FLAC, Ogg (Vorbis or Opus), MP3 or, with
      the package `av`, M4A or AAC file, or an already decoded floating-point
      array, [n] or [n, channels].
    rate: samples per second of `data`, with an array only: a file says it.
    sample_rate: samples per second of the result.
    max_seconds: longer files are refused before they are decoded, and so are
      those of more samples than 96 000 a second, over all channels.

  Returns:
    float32 [n], full scale is -1 to 1.

  Raises:
    Unreadable: the data is damaged, cut short, empty, too long or not finite. A
      cut is noticed except in MP3 and AAC files that do not say how long they
      are, and in Ogg files between two pages.
    ValueError: an array of another kind, or an array without its rate.

  Source: data2vec's code averages channels, too, and refuses other rates.
  """
  return converted(*stored(data, rate, max_seconds), sample_rate)


def measured(data: bytes, max_seconds: float = MAX_SECONDS) -> tuple[int, int]:
  """Returns the length of a file before resampling, having decoded all of it.

  So it refuses what training and evaluation refuse.

  Args:
    data: bytes of a file.
    max_seconds: as of `decode`.

  Returns:
    Number of samples per channel, and samples per second.

  Raises:
    Unreadable: as `decode`, or it is silent.
  """
  samples, rate = stored(data, None, max_seconds)
  check_sound(converted(samples, rate))
  return len(samples), rate


def stored(
  data: bytes | np.ndarray,
  rate: int | None = None,
  max_seconds: float = MAX_SECONDS,
) -> tuple[np.ndarray, int]:
  """Decodes an utterance, and leaves its channels and rate as they are.

  Args:
    data: as of `decode`.
    rate: as of `decode`.
    max_seconds: as of `decode`.

  Returns:
    Floating-point [n] or [n, channels], and samples per second.

  Raises:
    Unreadable: as `decode`.
    ValueError: as `decode`.
  """
  if isinstance(data, np.ndarray):
    if not np.issubdtype(data.dtype, np.floating) or data.ndim not in (1, 2):
      raise ValueError(
        "decode: decoded audio must be floating-point [n] or [n, channels], "
        f"got {data.dtype} {list(data.shape)}"
      )
    if rate is None or rate < 1:
      raise ValueError(
        f"decode: decoded audio needs its rate in samples a second, got {rate}"
      )
    samples = data
  else:
    samples, rate = _read(data, max_seconds)
  if not samples.size:
    raise Unreadable("empty: no samples")
  if not np.isfinite(samples).all():
    raise Unreadable("its samples are not all finite")
  return samples, rate


def converted(
  samples: np.ndarray, rate: int, sample_rate: int = SAMPLE_RATE
) -> np.ndarray:
  """Brings a decoded utterance to one channel and rate, as `decode` does.

  Args:
    samples: from `stored`.
    rate: their number in a second.
    sample_rate: samples per second of the result.

  Returns:
    float32 [n], full scale is -1 to 1.

  Raises:
    Unreadable: no samples are left.
  """
  if samples.ndim == 2:
    samples = _one_channel(samples)
  samples = np.ascontiguousarray(samples, np.float32)
  if rate != sample_rate:
    samples = soxr.resample(samples, rate, sample_rate, quality="HQ")
  if not samples.size:
    raise Unreadable("empty: no samples are left after resampling")
  return samples


def normalise(
  samples: np.ndarray, variance_floor: float = VARIANCE_FLOOR
) -> np.ndarray:
  """Returns an utterance with zero mean and unit variance.

  Args:
    samples: floating-point [n], a whole utterance: it is cropped afterwards.
    variance_floor: what is added to the variance.

  Returns:
    float32 [n], (x - mean) / sqrt(variance + variance_floor).

  Source: data2vec's code, a layer norm over the utterance in front of the crop.
  """
  exact = samples.astype(np.float64)
  scale = 1 / np.sqrt(exact.var() + variance_floor)
  return ((exact - exact.mean()) * scale).astype(np.float32)


def is_silent(samples: np.ndarray) -> bool:
  """Says whether an utterance has a standard deviation below 1e-4.

  That is 80 dB below full scale: digital silence, or noise of the last bits,
  which `normalise` would make as loud as speech. A constant is silent.

  Args:
    samples: floating-point [n], full scale is -1 to 1.
  """
  return bool(np.std(samples, dtype=np.float64) < _SILENCE)


def check_sound(samples: np.ndarray) -> None:
  """Raises Unreadable for an utterance of silence, see `is_silent`."""
  if is_silent(samples):
    raise Unreadable("silent: its standard deviation is below 1e-4")


def header(source: bytes | os.PathLike | str | BinaryIO) -> tuple[int, int]:
  """Returns the length of a file before resampling, without decoding it.

  Args:
    source: bytes of a file, its path, or the opened file.

  Returns:
    Number of samples per channel, and samples per second. An MP3 file may not
    say its length, which then is estimated; other files that do not are
    decoded.

  Raises:
    Unreadable: there is no such file, or no header that can be read.
  """
  file: BinaryIO | bytes
  if isinstance(source, bytes):
    file = io.BytesIO(source)
  elif not isinstance(source, os.PathLike | str):
    file = source
  else:
    check_file(source)
    file = os.fsencode(source)  # as soundfile itself does, but for any name
  try:
    info = soundfile.info(file)
    if info.frames < _UNKNOWN:
      return info.frames, info.samplerate
  except (soundfile.SoundFileError, OSError):
    pass
  try:
    whole = source if isinstance(source, bytes) else _content(source)
  except OSError as error:
    raise Unreadable(error.strerror or str(error)) from error
  samples, rate = _read(whole, MAX_SECONDS)
  return len(samples), rate


def num_samples(
  source: bytes | os.PathLike | str, sample_rate: int = SAMPLE_RATE
) -> int:
  """Returns how many samples `decode` will make of a file, from its header.

  Args:
    source: bytes of a file, or its path.
    sample_rate: samples per second after resampling.

  Raises:
    Unreadable: the header cannot be read.
  """
  return resampled_length(*header(source), sample_rate)


def resampled_length(count: int, rate: int, sample_rate: int) -> int:
  """Returns the length after resampling, soxr's rule: rounded, halves up.

  Args:
    count: samples per channel.
    rate: samples per second.
    sample_rate: samples per second after resampling.
  """
  return (2 * count * sample_rate + rate) // (2 * rate)


def _content(source: os.PathLike | str | BinaryIO) -> bytes:
  if isinstance(source, os.PathLike | str):
    return pathlib.Path(source).read_bytes()
  source.seek(0)
  return source.read()


def _one_channel(samples: np.ndarray) -> np.ndarray:
  """Returns [n] of [n, channels]."""
  mean = samples.mean(axis=1)
  if samples.shape[1] == 1:
    return mean
  loudness = samples.std(axis=0)
  loudest = int(np.argmax(loudness))
  if mean.std() < _CANCELLED * loudness[loudest]:
    return samples[:, loudest]
  return mean


class _Stream(soundfile.SoundFile):
  """A file read from beginning to end.

  The package looks for its position before and after each read where it can,
  which fails at the end of a FLAC file that does not say its length.
  """

  def seekable(self) -> bool:
    return False


def _read(data: bytes, max_seconds: float) -> tuple[np.ndarray, int]:
  """Returns float32 [n, channels] and the rate, or raises Unreadable."""
  data = containers.whole(data)
  if mpeg4.is_mpeg4(data):
    samples, rate = mpeg4.decode(data, max_seconds * _MOST_SAMPLES)
    _check_size(len(samples), samples.shape[1], rate, max_seconds)
    return samples, rate
  try:
    opened = _Stream(io.BytesIO(data))
  except soundfile.SoundFileError as error:
    look = look_of(data)
    named = look in ("FLAC", "Ogg", "MP3", "WAVE", "AIFF")
    raise Unreadable(
      f"damaged or cut short: {look}" if named else f"no sound: {look}"
    ) from error
  try:
    with opened as file:
      if file.format not in _KINDS:
        raise Unreadable(f"{file.format}, which is not read; save it as FLAC")
      known = file.frames < _UNKNOWN
      says = known and (file.format != "MP3" or containers.counts_frames(data))
      rate, channels = file.samplerate, file.channels
      _check_size(file.frames if known else 0, channels, rate, max_seconds)
      # Not a sample beyond the promise: what follows may be no sound.
      samples = _blocks(file, file.frames if says else None, max_seconds)
      promised = file.frames if says else len(samples)
  except soundfile.SoundFileError as error:
    raise Unreadable(f"damaged or cut short: {error}") from error
  if len(samples) < promised:
    raise Unreadable("cut short")
  return samples, rate


def _blocks(
  file: soundfile.SoundFile, total: int | None, max_seconds: float
) -> np.ndarray:
  """Reads so many samples, or all; float32 [n, channels]."""
  blocks: list[np.ndarray] = []
  count = 0
  while total is None or count < total:
    size = _BLOCK if total is None else min(_BLOCK, total - count)
    blocks.append(file.read(size, dtype="float32", always_2d=True))
    count += len(blocks[-1])
    _check_size(count, file.channels, file.samplerate, max_seconds)
    if len(blocks[-1]) < size:
      break
  if not blocks:
    return np.zeros((0, file.channels), np.float32)
  return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _check_size(
  count: int, channels: int, rate: int, max_seconds: float
) -> None:
  """Raises Unreadable for `count` samples of each channel that are too many."""
  if rate < _LEAST_RATE:
    raise Unreadable(
      f"its header says {rate} samples a second; fewer than {_LEAST_RATE} are "
      "no sound"
    )
  seconds = count / rate
  if seconds > max_seconds or count * channels > max_seconds * _MOST_SAMPLES:
    raise Unreadable(
      f"{seconds:.0f} s of {channels} channels at {rate} Hz are more than "
      f"max_seconds={max_seconds:g}; cut it, or set config.data.max_seconds"
    )
