"""Encoded audio to float32 samples, and which audio is corrupt."""

import io
import os
import pathlib
from collections.abc import Callable

import numpy as np
import soundfile
import soxr

SAMPLE_RATE = 16_000

_SILENCE = 1e-4  # -80 dB; the least step of 16 bits is 3e-5
_BLOCK = 1 << 20
_UNKNOWN = 1 << 62  # libsndfile's count when the header has none is above it
_VARIANCE_FLOOR = 1e-5


def decode(
  data: bytes | np.ndarray,
  rate: int | None = None,
  sample_rate: int = SAMPLE_RATE,
) -> np.ndarray | None:
  """Decodes an utterance, or finds it corrupt.

  Channels are averaged, then the sampling rate is converted (soxr, high
  quality).

  Args:
    data: bytes of a whole WAV, FLAC, Ogg (Vorbis or Opus) or MP3 file, or an
      already decoded floating-point array, [n] or [n, channels].
    rate: samples per second of `data`, with an array only: a file says it.
    sample_rate: samples per second of the result.

  Returns:
    float32 [n], full scale is -1 to 1; None when the data is corrupt, cut
    short, empty or not finite. A cut is noticed except in an MP3 file that does
    not say how long it is.

  Raises:
    ValueError: an array of another kind, or an array without its rate.

  Source: data2vec's code averages channels, too, and refuses other rates.
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
    decoded = _read(data)
    if decoded is None:
      return None
    samples, rate = decoded
  if samples.ndim == 2:
    samples = samples.mean(axis=1)
  samples = np.ascontiguousarray(samples, np.float32)
  if rate != sample_rate and samples.size:
    samples = soxr.resample(samples, rate, sample_rate, quality="HQ")
  if samples.size == 0 or not np.isfinite(samples).all():
    return None
  return samples


def normalise(samples: np.ndarray) -> np.ndarray:
  """Returns an utterance with zero mean and unit variance.

  Args:
    samples: floating-point [n], a whole utterance: it is cropped afterwards.

  Returns:
    float32 [n], (x - mean) / sqrt(variance + 1e-5).

  Source: data2vec's code, a layer norm over the utterance in front of the crop.
  """
  exact = samples.astype(np.float64)
  scale = 1 / np.sqrt(exact.var() + _VARIANCE_FLOOR)
  return ((exact - exact.mean()) * scale).astype(np.float32)


def is_silent(samples: np.ndarray) -> bool:
  """Says whether an utterance has a standard deviation below 1e-4.

  That is 80 dB below full scale: digital silence, or noise of the last bits,
  which `normalise` would make as loud as speech. A constant is silent.

  Args:
    samples: floating-point [n], full scale is -1 to 1.
  """
  return bool(np.std(samples, dtype=np.float64) < _SILENCE)


def header(source: bytes | os.PathLike | str) -> tuple[int, int] | None:
  """Returns the length of a file before resampling, without decoding it.

  Args:
    source: bytes of a file, or its path.

  Returns:
    Number of samples per channel, and samples per second; None when that
    cannot be read. An MP3 file may not say its length, which then is estimated;
    a FLAC file that does not is decoded.
  """
  if isinstance(source, bytes):
    return _header(io.BytesIO(source), lambda: source)
  return _header(str(source), pathlib.Path(source).read_bytes)


def _header(
  file: io.BytesIO | str, content: Callable[[], bytes]
) -> tuple[int, int] | None:
  try:
    info = soundfile.info(file)
    if info.frames < _UNKNOWN:
      return info.frames, info.samplerate
    decoded = _read(content())
  except (soundfile.SoundFileError, OSError):
    return None
  return None if decoded is None else (len(decoded[0]), decoded[1])


def num_samples(
  source: bytes | os.PathLike | str, sample_rate: int = SAMPLE_RATE
) -> int | None:
  """Returns how many samples `decode` will make of a file, from its header.

  Args:
    source: bytes of a file, or its path.
    sample_rate: samples per second after resampling.

  Returns:
    Number of samples; None when the header cannot be read.
  """
  length = header(source)
  return None if length is None else resampled_length(*length, sample_rate)


def resampled_length(count: int, rate: int, sample_rate: int) -> int:
  """Returns the length after resampling, soxr's rule: rounded, halves up.

  Args:
    count: samples per channel.
    rate: samples per second.
    sample_rate: samples per second after resampling.
  """
  return (2 * count * sample_rate + rate) // (2 * rate)


class _Stream(soundfile.SoundFile):
  """A file read from beginning to end.

  The package looks for its position before and after each read where it can,
  which fails at the end of a FLAC file that does not say its length.
  """

  def seekable(self) -> bool:
    return False


def _read(data: bytes) -> tuple[np.ndarray, int] | None:
  """Returns float32 [n, channels] and the rate; None when corrupt or cut."""
  if not _is_complete(data):
    return None
  blocks: list[np.ndarray] = []
  try:
    with _Stream(io.BytesIO(data)) as file:
      rate, promised, kind = file.samplerate, file.frames, file.format
      while not blocks or len(blocks[-1]) == _BLOCK:
        blocks.append(file.read(_BLOCK, dtype="float32", always_2d=True))
  except soundfile.SoundFileError:
    return None
  samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
  says = promised < _UNKNOWN and (kind != "MP3" or _counts_frames(data))
  return None if says and len(samples) < promised else (samples, rate)


def _is_complete(data: bytes) -> bool:
  """Finds files cut short that libsndfile would read to where they end."""
  if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
    return _wave_is_complete(data)
  if data[:4] == b"OggS":
    last = data.rfind(b"OggS")
    body = last + 27 + (data[last + 26] if last + 26 < len(data) else 0)
    ends = bool(data[last + 5 : last + 6] > b"" and data[last + 5] & 4)
    return ends and body + sum(data[last + 27 : body]) <= len(data)
  return len(data) > 0


def _wave_is_complete(data: bytes) -> bool:
  position = 12
  while position + 8 <= len(data):
    size = int.from_bytes(data[position + 4 : position + 8], "little")
    if data[position : position + 4] == b"data":
      # Programs that write to a pipe put a huge number for "until the end".
      return size >= 0x7FFF0000 or position + 8 + size <= len(data)
    position += 8 + size + size % 2
  return False


def _counts_frames(data: bytes) -> bool:
  """Whether an MP3 file begins with a frame that says its length."""
  start = data[: 1 << 16]
  return b"Xing" in start or b"Info" in start
