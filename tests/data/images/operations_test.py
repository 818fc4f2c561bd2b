import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from d2v_jax.data.images.operations import OPERATIONS, SIGNED
from tests.data.images.pictures import blurred, noise

FILL = np.array([124, 116, 104])
STRENGTHS = (0.0, 0.04, 0.31, 0.55, 0.9, 1.0)


def pillow(image):
  return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def affine(image, matrix):
  return image.transform(
    image.size,
    Image.Transform.AFFINE,
    matrix,
    Image.Resampling.BICUBIC,
    fillcolor=fill_of(image),
  )


def fill_of(image):
  return tuple(FILL.tolist()) if image.mode == "RGB" else 117


def posterize(image, s):
  bits = 4 - int(4 * s)
  # Pillow's own allowed 0 bits until version 12.
  return ImageOps.posterize(image, bits) if bits else image.point(lambda x: 0)


def solarize_add(image, s):
  add = int(110 * s)
  return image.point(lambda x: min(255, x + add) if x < 128 else x)


# The same with Pillow, by the formulas of the policy.
EXACT = {
  "auto_contrast": lambda image, s: ImageOps.autocontrast(image),
  "equalize": lambda image, s: ImageOps.equalize(image),
  "invert": lambda image, s: ImageOps.invert(image),
  "posterize": posterize,
  "solarize": lambda image, s: ImageOps.solarize(image, 256 - int(256 * s)),
  "solarize_add": solarize_add,
}
BLENDED = {
  "color": ImageEnhance.Color,
  "contrast": ImageEnhance.Contrast,
  "brightness": ImageEnhance.Brightness,
  "sharpness": ImageEnhance.Sharpness,
}
INTERPOLATED = {
  "rotate": lambda image, s: image.rotate(
    30 * s, Image.Resampling.BICUBIC, fillcolor=fill_of(image)
  ),
  "shear_x": lambda image, s: affine(image, (1, 0.3 * s, 0, 0, 1, 0)),
  "shear_y": lambda image, s: affine(image, (1, 0, 0, 0.3 * s, 1, 0)),
  "translate_x": lambda image, s: affine(
    image, (1, 0, 0.45 * s * image.size[0], 0, 1, 0)
  ),
  "translate_y": lambda image, s: affine(
    image, (1, 0, 0, 0, 1, 0.45 * s * image.size[1])
  ),
}


def difference(name, image, strength, reference):
  """Levels by which an operation differs from Pillow's."""
  fill = FILL if image.shape[2] == 3 else np.array([117])
  before = image.copy()
  ours = OPERATIONS[name](image, strength, fill)
  np.testing.assert_array_equal(image, before)
  assert ours.shape == image.shape and ours.dtype == np.uint8
  theirs = np.asarray(reference(pillow(image), strength))
  return np.abs(ours - theirs.reshape(image.shape).astype(int))


def signs(name):
  return (1, -1) if name in SIGNED else (1,)


def test_all_operations_are_compared():
  assert {*EXACT, *BLENDED, *INTERPOLATED} == OPERATIONS.keys()
  assert {*BLENDED, *INTERPOLATED} == SIGNED
  assert len(OPERATIONS) == 15


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", sorted(EXACT))
def test_changes_of_levels_are_those_of_pillow(name, channels):
  for s in STRENGTHS:
    assert difference(name, noise(channels), s, EXACT[name]).max() == 0


@pytest.mark.parametrize("name", ["auto_contrast", "equalize"])
@pytest.mark.parametrize(
  "image",
  [
    np.full((9, 9, 3), 77, np.uint8),  # one level
    np.where(np.eye(9) > 0, 40, 200).astype(np.uint8)[..., None],  # two
    noise(3, (10, 12)),  # fewer pixels than levels
    np.arange(256, dtype=np.uint8).reshape(16, 16, 1),
  ],
)
def test_unusual_histograms(name, image):
  assert difference(name, image, 0.9, EXACT[name]).max() == 0


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", sorted(BLENDED))
def test_blends_are_those_of_pillow(name, channels):
  def reference(image, s):
    return BLENDED[name](image).enhance(1 + 0.9 * s)

  for sign in signs(name):
    for s in STRENGTHS:
      levels = difference(name, noise(channels), sign * s, reference)
      # Cutting off fractions, one rounding of float32 can be a level.
      assert levels.max() <= 1 and levels.mean() < 0.01


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", sorted(INTERPOLATED))
def test_geometry_is_that_of_pillow(name, channels):
  for sign in signs(name):
    for s in STRENGTHS:
      levels = difference(name, blurred(channels), sign * s, INTERPOLATED[name])
      # Pixels that only one of both fills would differ by more.
      assert levels.max() <= 6 and levels.mean() < 0.75


def test_whole_pixels_are_moved_exactly():
  image = noise(3, (20, 40))
  out = OPERATIONS["translate_x"](image, 0.5, FILL)  # 9 of 40 pixels
  np.testing.assert_array_equal(out[:, :31], image[:, 9:])
  np.testing.assert_array_equal(out[:, 31:], np.broadcast_to(FILL, (20, 9, 3)))
  for name in INTERPOLATED:
    np.testing.assert_array_equal(OPERATIONS[name](image, 0.0, FILL), image)
