import collections
import pickle

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from d2v_jax import config as config_lib
from d2v_jax.data.images import rand_augment
from d2v_jax.data.images.rand_augment import OPERATIONS, SIGNED, RandAugment

FILL = np.array([124, 116, 104])
STRENGTHS = (0.0, 0.04, 0.31, 0.55, 0.9, 1.0)


def noise(channels=3, shape=(40, 56)):
  """Random levels that do not reach all of 0..255."""
  rng = np.random.default_rng(0)
  high = 180 + 20 * np.arange(channels)
  return rng.integers(30, high, (*shape, channels), dtype=np.uint8)


def smooth(channels=3):
  """A random picture without hard edges."""
  coarse = noise(channels, (5, 7))
  image = cv2.resize(coarse, (112, 80), interpolation=cv2.INTER_CUBIC)
  return image.reshape(80, 112, channels)


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
      levels = difference(name, smooth(channels), sign * s, INTERPOLATED[name])
      # Pixels that only one of both fills would differ by more.
      assert levels.max() <= 6 and levels.mean() < 0.75


def test_whole_pixels_are_moved_exactly():
  image = noise(3, (20, 40))
  out = OPERATIONS["translate_x"](image, 0.5, FILL)  # 9 of 40 pixels
  np.testing.assert_array_equal(out[:, :31], image[:, 9:])
  np.testing.assert_array_equal(out[:, 31:], np.broadcast_to(FILL, (20, 9, 3)))
  for name in INTERPOLATED:
    np.testing.assert_array_equal(OPERATIONS[name](image, 0.0, FILL), image)


def record(monkeypatch):
  """Replaces operations by ones that note what they are given."""
  seen = collections.defaultdict(list)

  def noting(name):
    def operation(image, strength, fill):
      seen[name].append(strength)
      return image

    return operation

  monkeypatch.setattr(
    rand_augment, "OPERATIONS", {name: noting(name) for name in OPERATIONS}
  )
  return seen


def test_draws(monkeypatch):
  seen = record(monkeypatch)
  rng, image, draws = np.random.default_rng(0), noise(), 15_000
  augment = RandAugment()
  for _ in range(draws // 2):
    augment(image, rng)
  assert seen.keys() == OPERATIONS.keys()
  expected = draws / 2 / 15
  for name, strengths in seen.items():
    assert abs(len(strengths) - expected) < 5 * np.sqrt(expected), name
    negative = np.mean(np.array(strengths) < 0)
    assert abs(negative - 0.5 * (name in SIGNED)) < 0.12, name
  sizes = np.abs(np.concatenate(list(seen.values())))
  assert sizes.max() == 1.0
  # A normal distribution cut at two standard deviations.
  assert abs(np.mean(sizes == 1.0) - 0.0228) < 0.01
  assert abs(np.median(sizes) - 0.9) < 0.003
  assert abs(np.mean(sizes < 0.85) - 0.1587) < 0.02


def test_layers_and_strength(monkeypatch):
  seen = record(monkeypatch)
  augment = RandAugment(magnitude=3.0, std=0.0, layers=5)
  for i in range(100):
    augment(noise(), np.random.default_rng(i))
  strengths = np.concatenate(list(seen.values()))
  assert 200 < len(strengths) < 300
  np.testing.assert_array_equal(np.abs(strengths), 0.3)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_generator_decides(channels):
  image, before = smooth(channels), smooth(channels)
  augment = RandAugment(layers=4)
  copy = pickle.loads(pickle.dumps(augment))
  different = 0
  for seed in range(40):
    out = augment(image, np.random.default_rng(seed))
    assert out.shape == image.shape and out.dtype == np.uint8
    again = copy(image, np.random.default_rng(seed))
    np.testing.assert_array_equal(out, again)
    different += not np.array_equal(out, image)
  np.testing.assert_array_equal(image, before)
  assert different > 30


@pytest.mark.parametrize(
  ("fill", "channels", "level"),
  [
    ((124, 116, 104), 3, [124, 116, 104]),
    ((124, 116, 104), 1, [117]),
    ((7,), 1, [7]),
    ((7,), 3, [7, 7, 7]),
  ],
)
def test_fill(monkeypatch, fill, channels, level):
  only = {"translate_x": OPERATIONS["translate_x"]}
  monkeypatch.setattr(rand_augment, "OPERATIONS", only)
  augment = RandAugment(10.0, 0.0, 9, fill)  # some are applied
  out = augment(noise(channels), np.random.default_rng(0))
  filled = np.all(out == level, -1).mean(0)
  assert (filled == 1).sum() >= 0.45 * out.shape[1] - 1


def test_from_a_config():
  section = {"magnitude": 5, "layers": 3, "fill": [1, 2, 3]}
  policy = config_lib.call(RandAugment, section, "config")
  assert policy == RandAugment(5, layers=3, fill=(1, 2, 3))
  hash(policy)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"magnitude": 11}, "magnitude must be 0 to 10, got 11"),
    ({"std": float("nan")}, "std must be 0 to 10, got nan"),
    ({"std": -1.0}, "std must be 0 to 10, got -1.0"),
    ({"layers": 0}, "layers must be 1 to 100, got 0"),
    ({"fill": (1, 2)}, r"one or three levels, 0 to 255, got \(1, 2\)"),
    ({"fill": (300,)}, "one or three levels"),
  ],
)
def test_errors(arguments, message):
  with pytest.raises(ValueError, match=message):
    RandAugment(**arguments)
