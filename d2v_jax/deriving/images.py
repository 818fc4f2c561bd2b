"""Rules for images: from what they are to the fields of a config."""

import dataclasses
import math
import statistics

from d2v_jax.config import ConfigError
from d2v_jax.deriving import shared
from d2v_jax.deriving.marks import Chosen

_MANY = 5_000  # images, from which on the network is image_folder's
_LARGEST = 128  # pixels a side
_SMALLEST = 8
_GRID = 8  # patches a side, about
_FEWEST_PATCHES = 4
_TINY = 12  # pixels a side, up to which nothing is cropped


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFindings:
  """What some images show.

  Attributes:
    count: images that can be used.
    sides: shorter side of each that was looked at, in pixels.
    channels: of all; 1 for grey ones.
    mean: of each channel, in 0 to 1.
    std: of each channel.
  """

  count: int
  sides: tuple[int, ...]
  channels: int
  mean: tuple[float, ...]
  std: tuple[float, ...]


def choose(
  found: ImageFindings, chosen: Chosen, small: bool, devices: int
) -> bool:
  """Chooses what depends on the images.

  Args:
    found: what they show.
    chosen: receives the values.
    small: the smaller network, however many images there are.
    devices: that share a batch.

  Returns:
    Whether the network is the smaller one.

  Raises:
    ConfigError: there are too few, or they are too small.
  """
  small = small or found.count < _MANY
  side = statistics.median_low(found.sides)
  size, patch = _size_and_patch(chosen, side)
  grid = size // patch
  why = f"grid of {grid} x {grid}"
  chosen.take("data.mask.min_block", 4 if grid >= 6 else 2, why)
  _colours(found, chosen, size)
  what = "as in digits.py" if small else "as in image_folder.py"
  what += f", {found.count} images"
  shared.network(chosen, *((96, 3) if small else (128, 4)), what)
  positions = "sincos" if small else "absolute"
  chosen.take("encoder.positions", positions, what)
  # digits.py has Muon, which was not tried on other sets of few images.
  rate = f"by Adam, {found.count} images" if small else what
  chosen.take("optimizer.muon", None if small else 4.0, rate)
  chosen.take("schedule.peak", 2e-3 if small else 1.5e-3, rate)
  shared.batch_size(chosen, found.count, 64, devices)
  return small


def averages(total_steps: int) -> tuple[float, float]:
  """The teacher's decay at the start and the end of a run of such a length."""
  # digits.py has 800 updates, image_folder.py 2,500.
  return (0.99, 0.999) if total_steps < 2_000 else (0.99, 0.9995)


def _size_and_patch(chosen: Chosen, side: int) -> tuple[int, int]:
  """Chooses the side of an image and of a patch, in pixels."""
  size = min(side, _LARGEST)
  if size < _SMALLEST and chosen.is_open("encoder.image_size"):
    raise ConfigError(
      f"config.data.source: the shorter sides of images are {side} pixels, "
      f"half of them or more; at least {_SMALLEST} are needed, or set "
      "config.encoder.image_size, to which they are enlarged."
    )
  size = chosen.take("encoder.image_size", size, "")
  patch = max(2 ** round(math.log2(max(size, 1) / _GRID)), 2)
  patch = chosen.take(
    "encoder.patch_size", patch, f"about {_GRID} x {_GRID} patches"
  )
  patch = max(patch, 1)
  if chosen.is_open("encoder.image_size"):
    size = max(size // patch, _FEWEST_PATCHES) * patch
    chosen.take(
      "encoder.image_size",
      size,
      f"shorter sides of {side} pixels in the middle, a multiple of the patch, "
      f"at most about {_LARGEST}",
    )
  return size, patch


def _colours(found: ImageFindings, chosen: Chosen, size: int) -> None:
  """Chooses channels, their normalisation, and augmentation."""
  kind = {1: "grey", 3: "coloured"}.get(found.channels, "of many channels")
  what = f"images are {kind}"
  channels = chosen.take("data.channels", found.channels, what)
  for name, values in (("mean", found.mean), ("std", found.std)):
    if channels == 1:
      values = (sum(values) / len(values),)
    rounded = tuple(round(x, 3) for x in values)
    chosen.take(f"encoder.{name}", rounded, "of the images looked at")
  coloured = channels == 3
  crop: tuple[float, float] | None
  if size <= _TINY:
    crop, why = None, f"{size} pixels, as in digits.py"
  elif coloured:
    crop, why = (0.2, 1.0), f"{what}, as in image_folder.py"
  else:
    crop, why = (0.5, 1.0), f"{what}, as in fashion_mnist.py"
  chosen.take("data.augment.crop_scale", crop, why)
  chosen.take("data.augment.flip", 0.5 if coloured else 0.0, what)
  jitter = (0.4, 0.4, 0.4) if coloured else None
  chosen.take("data.augment.color_jitter", jitter, what)
