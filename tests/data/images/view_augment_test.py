import math
import pickle

import numpy as np
import pytest
from scipy import stats

from d2v_jax import config as config_lib
from d2v_jax.data.images.view_augment import ViewAugment
from tests.data.images.pictures import picture

DRAWS = 1000
LEVEL = 1e-3  # how unlikely a correct draw would have been to fail
OFF = {"jitter": 0.0, "grey": 0.0, "blur": (0, 0), "solarize": (0, 0)}


def only(**changes):
  return ViewAugment(**(OFF | changes))


def apply(augment, image, view=0, seed=0):
  return augment(image, np.random.default_rng(seed), view)


def test_everything_off_leaves_the_image_alone():
  image = picture()
  for view in (0, 1):
    np.testing.assert_array_equal(apply(only(), image, view), image)


@pytest.mark.parametrize(
  ("name", "shares"),
  [
    ("jitter", (0.8, 0.8)),
    ("grey", (0.2, 0.2)),
    ("blur", (1.0, 0.1)),
    ("solarize", (0.0, 0.2)),
  ],
)
def test_probabilities_are_those_of_the_paper(name, shares):
  """A step alone changes a picture if, and only if, it is drawn."""
  augment = only(**{name: getattr(ViewAugment(), name)})
  image, rng = picture(16, 16), np.random.default_rng(0)
  for view, share in enumerate(shares):
    changed = sum(
      (augment(image, rng, view) != image).any() for _ in range(DRAWS)
    )
    # Blurs of 0.1 pixels do nothing: 3 x 3 weights show from about 0.3 on.
    low = share * (1 - 0.2) if name == "blur" else share
    error = math.sqrt(DRAWS * share * (1 - share))
    margin = stats.norm.isf(LEVEL / 2) * error
    assert low * DRAWS - margin <= changed <= share * DRAWS + margin


def test_solarisation():
  levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
  out = apply(only(solarize=(0, 1)), levels, view=1).reshape(-1)
  assert out.dtype == np.uint8
  for x, y in enumerate(out.tolist()):
    # As the paper has it, of levels in [0, 1].
    assert y / 255 == pytest.approx(x / 255 if x / 255 < 0.5 else 1 - x / 255)
  np.testing.assert_array_equal(
    apply(only(solarize=(0, 1)), levels, view=0), levels
  )


def test_grey_is_the_luma():
  image = picture()
  out = apply(only(grey=1.0), image)
  luma = image @ np.array([0.299, 0.587, 0.114])
  # Rounded, and OpenCV's weights are multiples of 1 / 1024.
  assert np.abs(out - luma[..., None]).max() <= 0.5 + 3 * 255 / 2048
  one = picture(channels=1)
  np.testing.assert_array_equal(apply(only(grey=1.0), one), one)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
  ("side", "reach"), [(224, 11), (96, 5), (32, 2), (8, 1)]
)
def test_blur_weighs_by_a_gaussian(channels, side, reach):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (side, side, channels), dtype=np.uint8)
  sigma = 1.7
  out = apply(only(blur=(1, 0), sigma=(sigma, sigma)), image)
  assert out.shape == image.shape and out.dtype == np.uint8
  weights = np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
  weights /= weights.sum()
  pad = [(reach, reach), (reach, reach), (0, 0)]
  padded = np.pad(image.astype(float), pad, mode="reflect")
  at = range(2 * reach + 1)
  rows = sum(weights[i] * padded[i : i + side] for i in at)
  both = sum(weights[i] * rows[:, i : i + side] for i in at)
  # OpenCV's weights for uint8 are multiples of 1 / 256 in each direction.
  assert np.abs(out - both).max() <= 2


def test_strength_of_the_blur_is_uniform():
  image = np.zeros((33, 33, 1), np.uint8)
  image[16, 16] = 255
  augment = only(blur=(1, 0))
  rng = np.random.default_rng(0)
  peaks = np.array([augment(image, rng, 0)[16, 16, 0] for _ in range(DRAWS)])
  weights = np.exp(-(np.arange(-2.0, 3) ** 2) / (2 * 1.05**2))  # the median
  median = 255 * (weights[2] / weights.sum()) ** 2
  below = (peaks > median).sum()
  assert stats.binomtest(int(below), DRAWS).pvalue > LEVEL
  assert peaks.max() == 255  # 0.1 pixels


def test_contrast_turns_about_the_image_itself():
  augment = only(jitter=1.0, strengths=(0, 0.4, 0, 0))
  image = np.full((6, 6, 3), 90, np.uint8)
  for seed in range(5):
    np.testing.assert_array_equal(apply(augment, image, seed=seed), image)


def test_each_strength_is_used():
  image = picture()
  for step in range(4):
    strengths = tuple(0.4 * (i == step) for i in range(4))
    out = apply(only(jitter=1.0, strengths=strengths), image).astype(int)
    assert (out != image).any()
    same_luma = np.abs((out - image) @ [0.299, 0.587, 0.114]).mean() < 1
    assert same_luma == (step == 2)
    highest = np.abs(out.max(2).astype(int) - image.max(2)).max() <= 1
    assert highest == (step == 3)  # hue keeps the value


def test_only_the_generator_is_random():
  augment = pickle.loads(pickle.dumps(ViewAugment()))
  for view in (0, 1):
    first = apply(ViewAugment(), picture(), view, 3)
    np.testing.assert_array_equal(first, apply(augment, picture(), view, 3))
    assert (first != apply(augment, picture(), view, 4)).any()


def test_from_a_config():
  augment = config_lib.call(
    ViewAugment, {"blur": [0.5, 0.5], "grey": 0.1}, "config"
  )
  assert augment == ViewAugment(blur=(0.5, 0.5), grey=0.1)
  hash(augment)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"jitter": 1.2}, "are probabilities, 0 to 1, got 1.2"),
    ({"blur": (0.5, -0.1)}, "are probabilities"),
    ({"solarize": (0.2,)}, "solarize must be two probabilities, of the first"),
    ({"strengths": (0.4, 0.4, 0.4)}, "strengths must be four numbers >= 0"),
    ({"strengths": (0.4, 0.4, 0.4, 0.6)}, "hue at most 0.5"),
    ({"sigma": (2.0, 0.1)}, r"low <= high <= 1000, got \(2.0, 0.1\)"),
    ({"strengths": (0.4, float("nan"), 0.2, 0.1)}, "four numbers >= 0"),
    ({"sigma": (0.1, 1e9)}, r"low <= high <= 1000, got"),
  ],
)
def test_errors(arguments, message):
  with pytest.raises(ValueError, match=message):
    ViewAugment(**arguments)
