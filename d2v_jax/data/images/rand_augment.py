"""RandAugment: operations on images, drawn at random."""

import dataclasses

import numpy as np

from d2v_jax.data.images.operations import OPERATIONS, SIGNED, grey_levels
from d2v_jax.data.ranges import check_range

_PROBABILITY = 0.5
_LARGEST = 10
_MOST_LAYERS = 100


@dataclasses.dataclass(frozen=True)
class RandAugment:
  """Changes an image by operations drawn at random.

  Each of `layers` times one of the 15 `OPERATIONS` is drawn, with replacement,
  and applied with probability 0.5, to a strength drawn from
  N(magnitude, std), clipped to 0..10; where that has a sign, a random one.

  Args:
    magnitude: mean strength, 0 to 10.
    std: standard deviation of the strength.
    layers: number of draws.
    fill: red, green and blue, or one level, 0 to 255, of what comes into the
      picture from outside. The default is ImageNet's mean.

  Raises:
    ValueError: an argument is outside its range.

  Source: Cubuk et al. 2019 (arXiv 1909.13719), as the policy
  `rand-m9-mstd0.5-inc1` of timm (Wightman) changes it, by which the released
  vision code fine-tunes: strengths are random, and every operation does more
  with more strength. Each is that of Pillow, but for OpenCV's bicubic
  interpolation, which is a little softer. (timm's default is to draw bilinear
  or bicubic; the released code sets bicubic.)
  """

  magnitude: float = 9.0
  std: float = 0.5
  layers: int = 2
  fill: tuple[int, ...] = (124, 116, 104)

  def __post_init__(self) -> None:
    for name, least, most in (
      ("magnitude", 0, _LARGEST),
      ("std", 0, _LARGEST),
      ("layers", 1, _MOST_LAYERS),
    ):
      check_range("RandAugment", name, getattr(self, name), least, most)
    if len(self.fill) not in (1, 3) or not all(
      0 <= x <= 255 for x in self.fill
    ):
      raise ValueError(
        "RandAugment: fill must be one or three levels, 0 to 255, got "
        f"{self.fill}"
      )

  def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Changes one image.

    Args:
      image: uint8 [H, W, C], C 1 or 3. Grey images have no colour to change.
      rng: the only source of randomness.

    Returns:
      uint8 [H, W, C].
    """
    fill = np.array(self.fill)
    if image.shape[2] == 1 < len(fill):
      fill = grey_levels(fill)[None]
    names = tuple(OPERATIONS)
    for _ in range(self.layers):
      name = names[rng.integers(len(names))]
      if rng.random() >= _PROBABILITY:
        continue
      strength = min(max(rng.normal(self.magnitude, self.std), 0.0), _LARGEST)
      if name in SIGNED and rng.random() < 0.5:
        strength = -strength
      image = OPERATIONS[name](image, strength / _LARGEST, fill)
    return image
