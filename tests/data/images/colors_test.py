import colorsys

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageStat

from d2v_jax.data.images import colors
from tests.data.images.pictures import picture


class Fixed:
  """A generator of given numbers, to take one known path."""

  def __init__(self, order, factors):
    self.order, self.factors = order, iter(factors)

  def permutation(self, count):
    assert count == 3
    return np.array(self.order)

  def uniform(self, low, high):
    return next(self.factors)


@pytest.mark.parametrize("factor", [0.6, 1.3])
@pytest.mark.parametrize(
  ("step", "enhance"),
  [
    (0, ImageEnhance.Brightness),
    (1, ImageEnhance.Contrast),
    (2, ImageEnhance.Color),
  ],
)
def test_each_jitter_step_is_that_of_pillow(step, enhance, factor):
  image = picture()
  strengths = np.where(np.arange(3) == step, 0.4, 0)
  order = [step, *({0, 1, 2} - {step})]
  ours = colors.jitter(
    Fixed(order, [factor, 1, 1]), image, strengths, image.mean((0, 1))
  )
  theirs = np.asarray(enhance(Image.fromarray(image)).enhance(factor))
  # Pillow cuts off fractions, and rounds the grey image; one level each.
  assert np.abs(ours.astype(int) - theirs).max() <= 2


def test_jitter_after_the_crop_is_jitter_before_it():
  """The order of the reference: jitter the whole image, then cut."""
  image = picture()
  order, factors = [0, 1, 2], [1.1, 0.7, 1.3]
  mean = np.array(ImageStat.Stat(Image.fromarray(image)).mean)
  box = (slice(20, 84), slice(30, 94))
  strengths = (0.4, 0.4, 0.4)
  before = colors.jitter(Fixed(order, factors), image, strengths, mean)
  after = colors.jitter(Fixed(order, factors), image[box], strengths, mean)
  np.testing.assert_array_equal(before[box], after)


def test_jitter_of_grey_images_has_no_saturation():
  image = picture(channels=1)
  out = colors.jitter(
    Fixed([2, 0, 1], [1.4, 1, 1]), image, (0, 0, 0.4), image.mean((0, 1))
  )
  np.testing.assert_array_equal(out, image)


def test_jitter_clips_instead_of_wrapping():
  image = np.full((4, 4, 3), 200, np.uint8)
  image[0] = 5
  bright = colors.jitter(
    Fixed([0, 1, 2], [1.4, 1, 1]), image, (0.4, 0, 0), np.full(3, 150.0)
  )
  assert bright[1:].min() == 255
  dark = colors.jitter(
    Fixed([1, 0, 2], [1.4, 1, 1]), image, (0, 0.4, 0), np.full(3, 150.0)
  )
  assert dark[0].max() == 0


@pytest.mark.parametrize("turns", [0.0, 1 / 3, 0.07, -0.4, 2.0])
def test_hue_turns_the_colour_circle(turns):
  image = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)
  image[0] = [[90, 90, 90]]  # grey has no hue
  ours = colors.shift_hue(image, turns)
  assert ours.dtype == np.uint8
  for new, old in zip(ours.reshape(-1, 3), image.reshape(-1, 3), strict=True):
    h, s, v = colorsys.rgb_to_hsv(*(old / 255).tolist())
    theirs = 255 * np.array(colorsys.hsv_to_rgb((h + turns) % 1, s, v))
    assert np.abs(new - theirs).max() <= 0.5 + 1e-3
  np.testing.assert_array_equal(ours[0], image[0])


def test_hue_of_grey_images_stays():
  image = picture(channels=1)
  np.testing.assert_array_equal(colors.shift_hue(image, 0.3), image)


@pytest.mark.parametrize("channels", [1, 3])
def test_mean(channels):
  image = picture(channels=channels)
  np.testing.assert_allclose(colors.mean(image), image.mean((0, 1)), rtol=1e-12)
