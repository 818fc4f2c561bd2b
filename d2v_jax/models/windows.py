"""Windows of a signal in seconds, as convolutions in samples."""

import math

from d2v_jax.data.layout import ConvLayers

# (channels, seconds that an output sees, seconds from one to the next).
Windows = tuple[tuple[int, float, float], ...]

# Seconds are brought to whole samples; what is further off is refused.
_TOLERANCE = 0.1
_MOST_SAMPLES = 2**31 - 1


def conv_layers(where: str, rate: float, windows: Windows) -> ConvLayers:
  """Convolutions whose outputs see such windows of the signal.

  Args:
    where: the constructor, for errors.
    rate: samples per second.
    windows: of each convolution the channels; how many seconds of the signal
      one output sees; and how many lie between one output and the next. The
      last are a frame's. Seconds become the nearest whole numbers of samples
      that there can be above the convolution below.

  Returns:
    (channels, kernel, stride) of each, in outputs of the one below.

  Raises:
    ValueError: they are not such, leave samples out, or would be off by more
      than a tenth.
  """
  if not 0 < rate < _MOST_SAMPLES:
    raise ValueError(
      f"{where}: rate must be the signal's samples per second, got {rate:g}."
    )
  if not windows:
    raise ValueError(
      f"{where}: windows must have at least one (channels, seconds that an "
      "output sees, seconds from one to the next)."
    )
  layers = []
  seen, hop = 1, 1  # samples, of an output so far
  for k, window in enumerate(windows):
    name = f"{where}: windows[{k}]"
    if len(window) != 3 or min(window) <= 0 or window[0] != int(window[0]):
      raise ValueError(
        f"{name} must be (channels, seconds that an output sees, seconds from "
        f"one to the next), all above 0, got {tuple(window)}."
      )
    channels, width, step = window
    stride = _whole(f"{name}: the step", step, rate, hop, hop)
    kernel = _whole(f"{name}: the width", width, rate, hop, seen)
    if kernel < stride:
      raise ValueError(
        f"{name} sees {width:g} s every {step:g} s, so that some samples are "
        "seen by no output; make the second number at least the third."
      )
    layers.append((int(channels), kernel, stride))
    seen += (kernel - 1) * hop
    hop *= stride
  return tuple(layers)


def _whole(name: str, seconds: float, rate: float, hop: int, least: int) -> int:
  """How many outputs of the layer below are nearest to so many seconds.

  Args:
    name: for errors.
    seconds: of the signal.
    rate: samples per second.
    hop: samples between two outputs of the layer below.
    least: samples that one of them stands for here.
  """
  if not seconds * rate < _MOST_SAMPLES:
    raise ValueError(f"{name} of {seconds:g} s is too long.")
  count = max(1, 1 + round((seconds * rate - least) / hop))
  got = (least + (count - 1) * hop) / rate
  if abs(got - seconds) > _TOLERANCE * seconds:
    below = max(1, 1 + math.floor((seconds * rate - least) / hop))
    near = [(least + n * hop) / rate for n in (below - 1, below)]
    raise ValueError(
      f"{name} of {seconds:g} s is {seconds * rate:.6g} samples at {rate:g} "
      f"Hz, and here it can be {near[0]:.6g} or {near[1]:.6g} s; take one of "
      "these."
    )
  return count
