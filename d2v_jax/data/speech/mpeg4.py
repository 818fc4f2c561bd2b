"""AAC, alone or in MPEG-4 files (M4A), by the package av."""

import io

import numpy as np

from d2v_jax.data.files.unreadable import Unreadable

_SLACK = 4096  # samples that encoders add at both ends and headers may count


def is_mpeg4(data: bytes) -> bool:
  """Whether bytes begin as an MPEG-4 file or as AAC with ADTS headers do."""
  adts = len(data) > 1 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0
  return data[4:8] == b"ftyp" or adts


def decode(data: bytes, max_samples: float) -> tuple[np.ndarray, int]:
  """Decodes the first sound of a file.

  Args:
    data: a whole file.
    max_samples: per channel; more are refused.

  Returns:
    float32 [n, channels] and samples per second.

  Raises:
    Unreadable: it is damaged, cut short or too long, or `av` is not installed.
  """
  try:
    import av
  except ImportError as error:
    raise Unreadable(
      "AAC or MPEG-4, which needs the package av: pip install 'd2v_jax[aac]'"
    ) from error
  try:
    with av.open(io.BytesIO(data), "r") as container:
      if not container.streams.audio:
        raise Unreadable("an MPEG-4 file without sound")
      stream = container.streams.audio[0]
      rate = stream.codec_context.sample_rate
      promised = 0
      if stream.duration and stream.time_base and data[4:8] == b"ftyp":
        promised = int(stream.duration * stream.time_base * rate)
      parts, count = [], 0
      for frame in container.decode(stream):
        parts.append(_samples(frame))
        count += len(parts[-1])
        if count > max_samples:
          raise Unreadable(f"more than {max_samples:.0f} samples")
  except (av.FFmpegError, ValueError) as error:
    if isinstance(error, Unreadable):
      raise
    raise Unreadable(f"damaged or cut short: {error}") from error
  if count + _SLACK < promised:
    raise Unreadable("cut short")
  if not parts:
    raise Unreadable("empty")
  return np.concatenate(parts), rate


def _samples(frame) -> np.ndarray:
  """Returns float32 [n, channels], full scale is -1 to 1."""
  values = frame.to_ndarray()
  channels = len(frame.layout.channels)
  values = values.T if frame.format.is_planar else values.reshape(-1, channels)
  if values.dtype.kind == "i":
    return values.astype(np.float32) / np.float32(-np.iinfo(values.dtype).min)
  return values.astype(np.float32)
