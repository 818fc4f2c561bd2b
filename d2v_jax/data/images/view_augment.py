"""What makes two views of an image differ, beside crop and flip."""

import dataclasses
import math

import cv2
import numpy as np

from d2v_jax.data.images import colors


@dataclasses.dataclass(frozen=True)
class ViewAugment:
  """Colour jitter, loss of colour, blur and solarisation, each by chance.

  Pairs are of the first and the second view, which are not made alike.

  Args:
    jitter: probability of colour jitter.
    strengths: x of brightness, contrast and saturation, each a factor drawn
      from U(max(0, 1 - x), 1 + x), and of hue, moved by U(-x, x) turns of the
      colour circle; in random order.
    grey: probability that the luma replaces the colour.
    blur: probabilities of a Gaussian blur.
    sigma: smallest and largest standard deviation of the blur, in pixels.
    solarize: probabilities that levels of 128 and more are inverted.

  Raises:
    ValueError: an argument is outside its range.

  Source: BYOL (arXiv 2006.07733), appendix B and its table of parameters, which
  are the defaults. The blur has 23 x 23 weights in an image of 224 x 224, and
  as many for their size in others, at least 3 x 3. The paper says that
  brightness is shifted; here, as in torchvision, it is scaled.
  """

  jitter: float = 0.8
  strengths: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
  grey: float = 0.2
  blur: tuple[float, float] = (1.0, 0.1)
  sigma: tuple[float, float] = (0.1, 2.0)
  solarize: tuple[float, float] = (0.0, 0.2)

  def __post_init__(self) -> None:
    for name, pair in (("blur", self.blur), ("solarize", self.solarize)):
      if len(pair) != 2:
        raise ValueError(
          f"ViewAugment: {name} must be two probabilities, of the first and "
          f"the second view, got {pair}"
        )
    if not all(
      0 <= p <= 1 for p in (self.jitter, self.grey, *self.blur, *self.solarize)
    ):
      raise ValueError(
        "ViewAugment: jitter, grey, blur and solarize are probabilities, 0 to "
        f"1, got {self.jitter}, {self.grey}, {self.blur} and {self.solarize}"
      )
    if (
      len(self.strengths) != 4
      or not all(0 <= x < math.inf for x in self.strengths)
      or self.strengths[3] > 0.5
    ):
      raise ValueError(
        "ViewAugment: strengths must be four numbers >= 0 (brightness, "
        f"contrast, saturation, hue; hue at most 0.5), got {self.strengths}"
      )
    if len(self.sigma) != 2 or not 0 < self.sigma[0] <= self.sigma[1] <= 1000:
      raise ValueError(
        "ViewAugment: sigma must be (low, high) with 0 < low <= high <= 1000, "
        f"got {self.sigma}"
      )

  def __call__(
    self, image: np.ndarray, rng: np.random.Generator, view: int
  ) -> np.ndarray:
    """Changes one image.

    Args:
      image: uint8 [H, W, C], C 1 or 3. Grey images have no colour to change.
      rng: the only source of randomness.
      view: 0 for the first, 1 for the second.

    Returns:
      uint8 [H, W, C].
    """
    if rng.random() < self.jitter:
      for step in rng.permutation(4):
        x = self.strengths[step]
        if step == 3:
          image = colors.shift_hue(image, rng.uniform(-x, x))
          continue
        factor = rng.uniform(max(0.0, 1 - x), 1 + x)
        image, _ = colors.scale(image, step, factor, colors.mean(image))
    if rng.random() < self.grey:
      image, _ = colors.scale(image, 2, 0.0, np.zeros(image.shape[2]))
    if rng.random() < self.blur[view]:
      image = _blur(image, rng.uniform(*self.sigma))
    if rng.random() < self.solarize[view]:
      image = np.where(image < 128, image, 255 - image)
    return image


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
  """Weighs pixels by a Gaussian; the image is mirrored at its edges."""
  reach = max(1, round(11 / 224 * max(image.shape[:2])))
  side = 2 * reach + 1
  return cv2.GaussianBlur(image, (side, side), sigma).reshape(image.shape)
