import pickle

import numpy as np
import pytest
from PIL import Image

from d2v_jax.data.images import transform as image_transform
from d2v_jax.data.images.cropping import resize
from d2v_jax.data.images.rand_augment import RandAugment
from d2v_jax.data.images.view_augment import ViewAugment
from d2v_jax.data.masks.image import (
  BeitBlockMask,
  InverseBlockMask,
  RandomPatchMask,
)
from tests.data.images.pictures import picture

MARKS = {"requested": 5, "record": 7}


def plain(size=64, **changes):
  """A transform with every random step turned off."""
  off = {"crop_scale": None, "flip": 0.0, "color_jitter": None}
  return image_transform.ImageTrainTransform(
    size, 16, **({"mask": None} | off | changes)
  )


@pytest.mark.parametrize("channels", [1, 3])
def test_output_contract(channels):
  mask = BeitBlockMask(8, min_block=2)
  transform = image_transform.ImageTrainTransform(64, 16, mask)
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


@pytest.mark.parametrize(
  ("mask", "hidden"),
  [
    (InverseBlockMask(4, ratio=0.7, adjust=0.1), 12),
    (RandomPatchMask(ratio=0.7, num_masks=3), 11),
  ],
)
def test_several_masks(mask, hidden):
  transform = pickle.loads(pickle.dumps(plain(mask=mask)))
  example = {"image": picture(), "label": 3, **MARKS}
  out = transform(example, np.random.default_rng(0))
  assert set(out) == {"inputs", "mask", "keep_ids", *MARKS}
  assert out["mask"].shape == (mask.num_masks, 16)
  assert out["keep_ids"].shape == (mask.num_masks, 16 - hidden)
  assert out["keep_ids"].dtype == np.int32
  for hides, keeps in zip(out["mask"], out["keep_ids"], strict=True):
    assert hides.sum() == hidden
    assert np.flatnonzero(~hides).tolist() == keeps.tolist()
  # The image is drawn first, so that it is the same without a mask.
  alone = plain()(example, np.random.default_rng(0))
  np.testing.assert_array_equal(out["inputs"], alone["inputs"])


def test_views_are_independent():
  both = plain(crop_scale=(0.1, 1.0), flip=0.5, views=2)
  example = {"image": picture(), "label": 3, **MARKS}
  out = both(example, np.random.default_rng(0))
  assert set(out) == {"inputs", "inputs_b", *MARKS}
  one = plain(crop_scale=(0.1, 1.0), flip=0.5)
  rng = np.random.default_rng(0)
  for name in ("inputs", "inputs_b"):
    alone = one(example, rng)
    np.testing.assert_array_equal(out[name], alone["inputs"])
    assert out[name].dtype == np.uint8 and out[name].flags.c_contiguous
  assert (out["inputs"] != out["inputs_b"]).any()


def test_views_are_made_unlike():
  off = {"jitter": 0.0, "grey": 0.0, "blur": (0, 0)}
  augment = off | {"solarize": (0.0, 1.0)}
  image = picture(64, 64)
  transform = plain(view_augment=ViewAugment(**augment), views=2)
  out = transform({"image": image, **MARKS}, np.random.default_rng(0))
  np.testing.assert_array_equal(out["inputs"], image)
  inverted = np.where(image < 128, image, 255 - image)
  np.testing.assert_array_equal(out["inputs_b"], inverted)


@pytest.mark.parametrize("channels", [1, 3])
def test_views_of_the_paper(channels):
  settings = {"color_jitter": None, "view_augment": ViewAugment(), "views": 2}
  transform = image_transform.ImageTrainTransform(64, 16, **settings)
  example = {"image": picture(channels=channels), **MARKS}
  out = transform(example, np.random.default_rng(0))
  for name in ("inputs", "inputs_b"):
    assert out[name].shape == (64, 64, channels)
    assert out[name].dtype == np.uint8 and out[name].flags.c_contiguous


def test_label_replaces_mask_in_supervised_training():
  out = plain()(
    {"image": picture(), "label": 3, **MARKS}, np.random.default_rng(0)
  )
  assert "mask" not in out
  assert out["label"] == 3 and out["label"].dtype == np.int32


def test_masks_are_given_the_grid():
  class LeftColumn:
    num_masks = None

    def check(self, shape, shortest=None):
      assert shape == (4, 4)

    def __call__(self, rng, example):
      mask = np.zeros(example["grid"], bool)
      mask[:, 0] = True
      return {"mask": mask.reshape(-1)}

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


def test_contrast_turns_about_the_mean_of_the_whole_image():
  colour = np.array([60, 100, 140], np.uint8)
  image = np.full((120, 160, 3), 250, np.uint8)
  image[:, :100] = colour
  whole = image.mean((0, 1)) @ [0.299, 0.587, 0.114]  # luma
  transform = plain(crop_scale=(0.02, 0.1), color_jitter=(0.0, 0.3, 0.0))
  factors = []
  for seed in range(40):
    out = transform({"image": image, **MARKS}, np.random.default_rng(seed))
    changed = out["inputs"][0, 0].astype(float)
    if np.ptp(out["inputs"], axis=(0, 1)).any() or changed[0] == changed[2]:
      continue  # a crop that has white in it
    factor = (changed[2] - changed[0]) / 80  # of the difference of channels
    factors.append(factor)
    expected = factor * colour + (1 - factor) * whole
    np.testing.assert_allclose(changed, expected, rtol=0, atol=2)
  assert len(factors) > 10
  assert min(factors) < 0.85 and max(factors) > 1.15


@pytest.mark.parametrize("channels", [1, 3])
def test_rand_augment_comes_after_the_flip(channels):
  image = picture(64, 64, channels)
  transform = plain(flip=1.0, rand_augment=RandAugment(8, 0.2, 3))
  for seed in range(10):
    out = transform({"image": image, **MARKS}, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    rng.random()  # the flip
    flipped = np.ascontiguousarray(image[:, ::-1])
    expected = RandAugment(8, 0.2, 3)(flipped, rng)
    np.testing.assert_array_equal(out["inputs"], expected)
    assert out["inputs"].flags.c_contiguous


@pytest.mark.parametrize("shape", [(120, 160), (160, 120), (33, 70)])
def test_evaluation_takes_the_centre(shape):
  # A ramp in both directions has its middle value in the middle of the crop.
  rows, cols = np.meshgrid(*map(np.arange, shape), indexing="ij")
  image = np.stack([rows, cols, rows + cols], -1).astype(np.uint8)
  out = image_transform.ImageEvalTransform(28)({"image": image, "label": 4})
  assert out["inputs"].shape == (28, 28, 3)
  assert out["label"] == 4 and out["label"].dtype == np.int32
  middle = out["inputs"].mean((0, 1))
  scale = min(shape) / 32  # one pixel of the resized image
  assert abs(middle[0] - (shape[0] - 1) / 2) <= scale
  assert abs(middle[1] - (shape[1] - 1) / 2) <= scale


def test_evaluation_without_a_crop_keeps_the_whole_image():
  image = picture(64, 96)
  out = image_transform.ImageEvalTransform(32, resize_ratio=None)(
    {"image": image}
  )
  np.testing.assert_array_equal(out["inputs"], resize(image, (32, 32)))
  same = image_transform.ImageEvalTransform(64, resize_ratio=None)(
    {"image": image[:, :64]}
  )
  np.testing.assert_array_equal(same["inputs"], image[:, :64])
  assert "label" not in out


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"size": 60}, "image_size=60 is not a multiple of patch_size=16"),
    ({"mask": BeitBlockMask(16)}, "cannot hide 16 of the 16 patches"),
    (
      {"mask": InverseBlockMask(ratio=0.95)},
      "0 of 16 patches stay visible; allowed are 1 to 15",
    ),
    ({"size": 0}, "image_size must be 1 to 32767, got 0"),
    ({"size": -16}, "image_size must be 1 to 32767, got -16"),
    ({"size": 2**20}, "image_size must be 1 to 32767, got 1048576"),
    ({"color_jitter": (0.4, float("nan"), 0.4)}, "three strengths"),
    ({"views": 3}, "views must be 1 or 2, got 3"),
    (
      {"color_jitter": (0.4, 0.4, 0.4), "view_augment": ViewAugment()},
      "view_augment changes colours itself; set one of them to None",
    ),
    (
      {"rand_augment": RandAugment(), "view_augment": ViewAugment()},
      "rand_augment and view_augment both change colours",
    ),
    ({"crop_scale": (0.5, 1.5)}, "crop_scale must be"),
    ({"crop_ratio": (2.0, 1.0)}, "crop_ratio must be"),
    ({"flip": 2.0}, "flip is a probability"),
    ({"color_jitter": (0.4, 0.4)}, "three strengths"),
    (
      {"color_jitter": (0.4, 0.4, 0.4), "rand_augment": RandAugment()},
      "rand_augment changes colours itself; set one of them to None",
    ),
  ],
)
def test_errors(changes, message):
  with pytest.raises(ValueError, match=message):
    plain(**changes)
  with pytest.raises(ValueError, match="resize_ratio must be None or 1 to"):
    image_transform.ImageEvalTransform(32, resize_ratio=0.5)


@pytest.mark.parametrize("shape", [(97, 61), (40, 33), (64, 65)])
def test_evaluation_of_a_squeezed_image(shape):
  image = picture(*shape)
  squeezed = Image.fromarray(image).resize((45, 45), Image.Resampling.BICUBIC)
  expected = squeezed.crop((6, 6, 38, 38))  # (45 - 32) // 2
  transform = image_transform.ImageEvalTransform(
    32, 45 / 32, "bicubic", keep_aspect=False
  )
  made = transform({"image": image})["inputs"]
  np.testing.assert_allclose(
    made.astype(int), np.asarray(expected).astype(int), atol=1
  )


@pytest.mark.parametrize("shape", [(97, 61), (40, 33), (64, 65)])
@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_evaluation_with_a_filter_of_pillow(shape, name):
  image = picture(*shape)
  transform = image_transform.ImageEvalTransform(32, 38 / 32, name)
  out = transform({"image": image})["inputs"]
  rows, cols = (38 * side // min(shape) for side in shape)
  resized = Image.fromarray(image).resize(
    (cols, rows), Image.Resampling[name.upper()]
  )
  left, top = (cols - 32) // 2, (rows - 32) // 2
  expected = resized.crop((left, top, left + 32, top + 32))
  np.testing.assert_array_equal(out, np.asarray(expected))


def test_what_a_crop_keeps():
  image = picture()
  example = {"image": image, **MARKS}
  assert plain().kept(example, np.random.default_rng(0)) == 1.0
  # What is drawn is what a view is made of: the same draws, the same box.
  cropped = plain(crop_scale=(0.25, 0.25), crop_ratio=(1.0, 1.0))
  kept = cropped.kept(example, np.random.default_rng(3))
  assert kept == pytest.approx(0.25, rel=0.1)
  rows, columns, _ = image.shape
  side = round((rows * columns / 4) ** 0.5)
  assert kept == side**2 / (rows * columns)
