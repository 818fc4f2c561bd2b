"""What the data and the networks must agree on; no dependencies but NumPy."""

import dataclasses
import functools
import math
import typing
from typing import ClassVar

import numpy as np

from d2v_jax.data import mel

ConvLayers = tuple[tuple[int, int, int], ...]

# wav2vec 2.0's convolutions: (channels, kernel, stride). 16 kHz become 50 Hz.
CONV_LAYERS: ConvLayers = (
  (512, 10, 5),
  *((512, 3, 2),) * 4,
  *((512, 2, 2),) * 2,
)

# Token ids of every vocabulary; <mask> is its last one.
BOS, PAD, EOS, UNK = 0, 1, 2, 3


@typing.overload
def num_frames(samples: int, conv_layers: ConvLayers = ...) -> int: ...


@typing.overload
def num_frames(
  samples: np.ndarray, conv_layers: ConvLayers = ...
) -> np.ndarray: ...


def num_frames(
  samples: int | np.ndarray, conv_layers: ConvLayers = CONV_LAYERS
) -> int | np.ndarray:
  """Returns how many frames the feature encoder makes of so many samples.

  Args:
    samples: a number, or an integer array of any shape.
    conv_layers: (channels, kernel, stride) of each convolution, unpadded.

  Returns:
    A number or an array like `samples`; 0 where there are too few samples.

  Raises:
    ValueError: a layer is not three numbers of at least 1.
  """
  length = np.asarray(samples)
  for layer in conv_layers:
    if len(layer) != 3 or min(layer) < 1:
      raise ValueError(
        "num_frames: each of conv_layers must be (channels, kernel, stride), "
        f"all >= 1, got {tuple(layer)}"
      )
    length = np.maximum((length - layer[1]) // layer[2] + 1, 0)
  return length if isinstance(samples, np.ndarray) else int(length)


@dataclasses.dataclass(frozen=True)
class ImageInputs:
  """Images of one size, as tokens of one patch each.

  Attributes:
    image_size: side of a square, or (height, width), pixels; multiples of
      patch_size.
    patch_size: side of a patch, pixels.
  """

  image_size: int | tuple[int, int]
  patch_size: int

  @property
  def size(self) -> tuple[int, int]:
    """Height and width of an image, pixels."""
    size = self.image_size
    return (size, size) if isinstance(size, int) else size

  @property
  def grid(self) -> tuple[int, int]:
    """Tokens along each axis, e.g. (14, 14)."""
    height, width = self.size
    return height // self.patch_size, width // self.patch_size

  @property
  def num_tokens(self) -> int:
    """Tokens of an image, N."""
    return self.grid[0] * self.grid[1]

  def example(
    self, batch_size: int = 1, channels: int = 3
  ) -> dict[str, np.ndarray]:
    """A batch of black images, uint8 [B, H, W, C]."""
    shape = (batch_size, *self.size, channels)
    return {"inputs": np.zeros(shape, np.uint8)}


@dataclasses.dataclass(frozen=True)
class SpectrogramInputs(ImageInputs):
  """Log-mel frames of a recording, [frames, bands], as one image.

  Attributes:
    image_size: (frames, bands).
  """

  image_size: tuple[int, int]

  @property
  def samples(self) -> int:
    """Samples at 16 kHz that the frames are made of."""
    return (self.size[0] - 1) * mel.HOP + mel.WINDOW

  def example(
    self, batch_size: int = 1, channels: int = 1
  ) -> dict[str, np.ndarray]:
    """A batch of frames of the mean, float32 [B, frames, bands, 1]."""
    shape = (batch_size, *self.size, channels)
    return {"inputs": np.zeros(shape, np.float32)}


@dataclasses.dataclass(frozen=True)
class WaveformInputs:
  """Waveforms of any length, as tokens of one frame each.

  Attributes:
    conv_layers: (channels, kernel, stride) of each convolution, unpadded.
    width: channels of a token, D, which a channel mask hides.
    rate: samples per second.
    channels: of a signal [T, C]; None for speech [T].
  """

  conv_layers: ConvLayers
  width: int
  rate: float = 16_000
  channels: int | None = None

  grid: ClassVar[tuple[int, ...]] = ()
  longest: ClassVar[None] = None

  @property
  def shortest(self) -> int:
    """The fewest samples that make a token."""
    return functools.reduce(
      lambda length, layer: (length - 1) * layer[2] + layer[1],
      reversed(self.conv_layers),
      1,
    )

  @property
  def hop(self) -> int:
    """Samples from the beginning of a token to that of the next."""
    return math.prod(stride for _, _, stride in self.conv_layers)

  def num_tokens(self, length: int) -> int:
    """Tokens N of so many samples."""
    return num_frames(length, self.conv_layers)

  def example(
    self, batch_size: int = 1, length: int | None = None
  ) -> dict[str, np.ndarray]:
    """A batch of silence, float32 [B, T] or [B, T, C]; None is the shortest.

    Raises:
      ValueError: the length is not one that the network takes.
    """
    length = _checked_length(self, length, "samples")
    channels = () if self.channels is None else (self.channels,)
    return {"inputs": np.zeros((batch_size, length, *channels), np.float32)}


@dataclasses.dataclass(frozen=True)
class TokenInputs:
  """Token ids of a text.

  Attributes:
    vocab_size: number of token ids; the last one is `<mask>`.
    max_tokens: the longest input.
  """

  vocab_size: int
  max_tokens: int

  grid: ClassVar[tuple[int, ...]] = ()
  shortest: ClassVar[int] = 1

  @property
  def longest(self) -> int:
    """The most tokens of an input."""
    return self.max_tokens

  def num_tokens(self, length: int) -> int:
    """Tokens N of so many token ids: one each."""
    return length

  def example(
    self, batch_size: int = 1, length: int | None = None
  ) -> dict[str, np.ndarray]:
    """A batch of `<s>`, int32 [B, N]; None is the shortest.

    Raises:
      ValueError: the length is not one that the network takes.
    """
    length = _checked_length(self, length, "tokens")
    return {"inputs": np.full((batch_size, length), BOS, np.int32)}


# What an encoder takes.
Inputs = ImageInputs | WaveformInputs | TokenInputs


def _checked_length(
  inputs: WaveformInputs | TokenInputs, length: int | None, unit: str
) -> int:
  shortest, longest = inputs.shortest, inputs.longest
  if length is None:
    return shortest
  if length < shortest or (longest is not None and length > longest):
    most = "any more" if longest is None else longest
    raise ValueError(
      f"the length must be {shortest} to {most} ({unit}), got {length}."
    )
  return length
