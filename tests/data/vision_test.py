import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageStat

from d2v_jax.data import masking, vision
from d2v_jax.data.rand_augment import RandAugment

MARKS = {"requested": 5, "record": 7}


def picture(height=120, width=160, channels=3, seed=0):
  """A smooth random picture."""
  rng = np.random.default_rng(seed)
  coarse = rng.integers(30, 226, (6, 8, channels), dtype=np.uint8)
  image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
  return image.reshape(height, width, channels)


def plain(size=64, **changes):
  """A transform with every random step turned off."""
  off = {"crop_scale": None, "flip": 0.0, "color_jitter": None}
  return vision.TrainTransform(size, 16, **({"mask": None} | off | changes))


class Fixed:
  """A generator of given numbers, to take one known path."""

  def __init__(self, order, factors):
    self.order, self.factors = order, iter(factors)

  def permutation(self, count):
    assert count == 3
    return np.array(self.order)

  def uniform(self, low, high):
    return next(self.factors)


@pytest.mark.parametrize("channels", [1, 3])
def test_output_contract(channels):
  mask = masking.BlockMask(8, min_block=2)
  transform = vision.TrainTransform(64, 16, mask)
  example = {"image": picture(channels=channels), "label": 3, **MARKS}
  out = transform(example, np.random.default_rng(0))
  assert out["inputs"].shape == (64, 64, channels)
  assert out["inputs"].dtype == np.uint8
  assert out["inputs"].flags.c_contiguous
  assert out["mask"].shape == (16,) and out["mask"].dtype == bool
  assert out["mask"].sum() == 8
  assert {key: out[key] for key in MARKS} == MARKS
  assert "label" not in out
  again = transform(example, np.random.default_rng(0))
  np.testing.assert_array_equal(out["inputs"], again["inputs"])
  np.testing.assert_array_equal(out["mask"], again["mask"])


def test_label_replaces_mask_in_supervised_training():
  out = plain()(
    {"image": picture(), "label": 3, **MARKS}, np.random.default_rng(0)
  )
  assert "mask" not in out
  assert out["label"] == 3 and out["label"].dtype == np.int32


def test_mask_tokens_are_row_major():
  class LeftColumn:
    def count(self, grid):
      return grid[0]

    def __call__(self, rng, grid):
      mask = np.zeros(grid, bool)
      mask[:, 0] = True
      return mask

  out = plain(mask=LeftColumn())(
    {"image": picture(), **MARKS}, np.random.default_rng(0)
  )
  np.testing.assert_array_equal(np.flatnonzero(out["mask"]), [0, 4, 8, 12])


def test_every_step_off_leaves_the_image_alone():
  image = picture(64, 64)
  out = plain()({"image": image, **MARKS}, np.random.default_rng(0))
  np.testing.assert_array_equal(out["inputs"], image)


def test_flip():
  image = picture(64, 64)
  out = plain(flip=1.0)({"image": image, **MARKS}, np.random.default_rng(0))
  np.testing.assert_array_equal(out["inputs"], image[:, ::-1])


@pytest.mark.parametrize("channels", [1, 3])
def test_rand_augment_comes_after_the_flip(channels):
  image = picture(64, 64, channels)
  settings = {"magnitude": 8, "std": 0.2, "layers": 3}
  transform = plain(flip=1.0, rand_augment=settings)
  assert transform.rand_augment == RandAugment(8, 0.2, 3)
  for seed in range(10):
    out = transform({"image": image, **MARKS}, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    rng.random()  # the flip
    flipped = np.ascontiguousarray(image[:, ::-1])
    expected = RandAugment(8, 0.2, 3)(flipped, rng)
    np.testing.assert_array_equal(out["inputs"], expected)
    assert out["inputs"].flags.c_contiguous


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
  ours = vision.jitter_colors(
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
  before = vision.jitter_colors(Fixed(order, factors), image, strengths, mean)
  after = vision.jitter_colors(
    Fixed(order, factors), image[box], strengths, mean
  )
  np.testing.assert_array_equal(before[box], after)


def test_jitter_of_grey_images_has_no_saturation():
  image = picture(channels=1)
  out = vision.jitter_colors(
    Fixed([2, 0, 1], [1.4, 1, 1]), image, (0, 0, 0.4), image.mean((0, 1))
  )
  np.testing.assert_array_equal(out, image)


def test_jitter_clips_instead_of_wrapping():
  image = np.full((4, 4, 3), 200, np.uint8)
  image[0] = 5
  bright = vision.jitter_colors(
    Fixed([0, 1, 2], [1.4, 1, 1]), image, (0.4, 0, 0), np.full(3, 150.0)
  )
  assert bright[1:].min() == 255
  dark = vision.jitter_colors(
    Fixed([1, 0, 2], [1.4, 1, 1]), image, (0, 0.4, 0), np.full(3, 150.0)
  )
  assert dark[0].max() == 0


def test_crop_boxes_have_the_right_area_and_aspect():
  rng = np.random.default_rng(0)
  boxes = np.array(
    [
      vision.crop_box(rng, (300, 400), (0.2, 0.5), (3 / 4, 4 / 3))
      for _ in range(2000)
    ]
  )
  top, left, height, width = boxes.T
  area = height * width / (300 * 400)
  assert area.min() > 0.195 and area.max() < 0.505
  assert abs(area.mean() - 0.35) < 4 * 0.3 / np.sqrt(12 * 2000)
  aspect = np.log(width / height)
  assert np.abs(aspect).max() < np.log(4 / 3) + 0.02
  # Boxes reach both edges, and lie evenly between them.
  assert top.min() == 0 and (top + height).max() == 300
  assert left.min() == 0 and (left + width).max() == 400
  assert abs((top / (300 - height)).mean() - 0.5) < 0.03
  assert abs((left / (400 - width)).mean() - 0.5) < 0.03


@pytest.mark.parametrize(
  ("shape", "box"),
  [
    ((100, 1000), (0, 433, 100, 133)),  # too wide: 4 : 3 from the centre
    ((1000, 100), (433, 0, 133, 100)),
    ((1, 1), (0, 0, 1, 1)),
  ],
)
def test_crop_falls_back_to_the_centre(shape, box):
  rng = np.random.default_rng(0)
  assert vision.crop_box(rng, shape, (1.0, 1.0), (3 / 4, 4 / 3)) == box


def test_shrinking_averages_areas():
  image = picture(64, 96)
  exact = image.reshape(32, 2, 48, 2, 3).mean((1, 3))
  small = vision.resize(image, (32, 48))
  assert np.abs(small - exact).max() <= 0.5


def test_shrinking_does_not_alias():
  image = np.zeros((256, 256, 1), np.uint8)
  image[:, ::2] = 255  # the finest stripes there are
  small = vision.resize(image, (100, 100))
  assert small.shape == (100, 100, 1)
  # Their mean is 127.5; sampling without averaging would give 0 and 255.
  assert np.abs(small.astype(float) - 127.5).max() < 35


def test_enlarging_is_close_to_pillow():
  image = picture(40, 50)
  ours = vision.resize(image, (80, 110)).astype(int)
  theirs = Image.fromarray(image).resize((110, 80), Image.Resampling.BICUBIC)
  assert np.abs(ours - np.asarray(theirs)).mean() < 1


@pytest.mark.parametrize("shape", [(120, 160), (160, 120), (33, 70)])
def test_evaluation_takes_the_centre(shape):
  # A ramp in both directions has its middle value in the middle of the crop.
  rows, cols = np.meshgrid(*map(np.arange, shape), indexing="ij")
  image = np.stack([rows, cols, rows + cols], -1).astype(np.uint8)
  out = vision.EvalTransform(28)({"image": image, "label": 4})
  assert out["inputs"].shape == (28, 28, 3)
  assert out["label"] == 4 and out["label"].dtype == np.int32
  middle = out["inputs"].mean((0, 1))
  scale = min(shape) / 32  # one pixel of the resized image
  assert abs(middle[0] - (shape[0] - 1) / 2) <= scale
  assert abs(middle[1] - (shape[1] - 1) / 2) <= scale


def test_evaluation_without_a_crop_keeps_the_whole_image():
  image = picture(64, 96)
  out = vision.EvalTransform(32, resize_ratio=None)({"image": image})
  np.testing.assert_array_equal(out["inputs"], vision.resize(image, (32, 32)))
  same = vision.EvalTransform(64, resize_ratio=None)({"image": image[:, :64]})
  np.testing.assert_array_equal(same["inputs"], image[:, :64])
  assert "label" not in out


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"size": 60}, "image_size=60 is not a multiple of patch_size=16"),
    ({"mask": masking.BlockMask(16)}, "cannot hide 16 of the 16 patches"),
    ({"crop_scale": (0.5, 1.5)}, "crop_scale must be"),
    ({"crop_ratio": (2.0, 1.0)}, "crop_ratio must be"),
    ({"flip": 2.0}, "flip is a probability"),
    ({"color_jitter": (0.4, 0.4)}, "three strengths"),
    (
      {"color_jitter": (0.4, 0.4, 0.4), "rand_augment": {}},
      "rand_augment changes colours itself; set one of them to None",
    ),
    (
      {"rand_augment": {"depth": 2}},
      "choose from: fill, layers, magnitude, std",
    ),
  ],
)
def test_errors(changes, message):
  with pytest.raises(ValueError, match=message):
    plain(**changes)
  with pytest.raises(ValueError, match="resize_ratio must be None or >= 1"):
    vision.EvalTransform(32, resize_ratio=0.5)
