"""Rules for images against what the shipped configs have, and by hand."""

import pytest

from d2v_jax import config_file
from d2v_jax.config import ConfigError
from d2v_jax.deriving import images, marks


def found(side=32, count=20_000, channels=3, **more):
  values = {"mean": (0.5,) * channels, "std": (0.25,) * channels, **more}
  return images.ImageFindings(
    count=count, sides=(side,), channels=channels, **values
  )


def chosen(findings, small=False, devices=1, **given):
  config = config_file.load("own_images")
  for path, value in given.items():
    config_file.override(config, path.replace("__", "."), value)
  made = marks.Chosen(config)
  is_small = images.choose(findings, made, small, devices)
  return made.values, is_small


def shipped(name):
  return config_file.load(name)


def test_many_photographs_of_32_pixels_are_those_of_image_folder():
  values, is_small = chosen(found())
  theirs = shipped("image_folder")
  assert not is_small
  for name in [
    "image_size",
    "patch_size",
    "width",
    "depth",
    "num_heads",
    "positions",
  ]:
    assert values[f"encoder.{name}"] == theirs.encoder[name], name
  for name, value in theirs.data.augment.items():
    assert values[f"data.augment.{name}"] == value
  assert values["batch_size"] == theirs.batch_size
  assert values["schedule.peak"] == theirs.schedule.peak
  assert values["optimizer.muon"] == theirs.optimizer.muon
  assert values["data.mask.min_block"] == theirs.data.mask.min_block
  ema = theirs.objective.ema
  assert images.averages(theirs.total_steps) == (ema.start, ema.end)


def test_few_small_grey_images_are_those_of_digits():
  values, is_small = chosen(found(8, 1297, 1, mean=(0.31,), std=(0.37,)))
  theirs = shipped("digits")
  assert is_small
  for name in [
    "image_size",
    "patch_size",
    "width",
    "depth",
    "num_heads",
    "positions",
    "mean",
    "std",
  ]:
    assert values[f"encoder.{name}"] == theirs.encoder[name], name
  for name, value in theirs.data.augment.items():
    assert values[f"data.augment.{name}"] == value
  assert values["data.channels"] == 1
  assert values["batch_size"] == theirs.batch_size
  # Theirs is of Muon.
  assert values["schedule.peak"] == 2e-3
  assert values["optimizer.muon"] is None
  assert values["data.mask.min_block"] == theirs.data.mask.min_block
  ema = theirs.objective.ema
  assert images.averages(theirs.total_steps) == (ema.start, ema.end)


@pytest.mark.parametrize(
  ("side", "size", "patch"),
  [
    (8, 8, 2),
    (28, 28, 4),
    (50, 48, 8),
    (64, 64, 8),
    (100, 96, 16),
    (128, 128, 16),
    (2_000, 128, 16),
  ],
)
def test_sizes(side, size, patch):
  values, _ = chosen(found(side))
  assert values["encoder.image_size"] == size
  assert values["encoder.patch_size"] == patch


def test_a_size_that_is_given_decides_on_the_patch():
  values, _ = chosen(found(500), encoder__image_size="224")
  assert "encoder.image_size" not in values
  assert values["encoder.patch_size"] == 32
  values, _ = chosen(found(500), encoder__patch_size="10")
  assert values["encoder.image_size"] == 120


def test_the_middle_of_the_sides_decides():
  findings = images.ImageFindings(
    count=99, sides=(900, 32, 10), channels=3, mean=(0,) * 3, std=(1,) * 3
  )
  assert chosen(findings)[0]["encoder.image_size"] == 32


def test_too_small():
  with pytest.raises(
    ConfigError, match=r"are 4 pixels.* at least 8 are needed"
  ):
    chosen(found(4))


def test_colours_that_are_given_as_grey():
  values, _ = chosen(found(mean=(0.3, 0.4, 0.5)), data__channels="1")
  assert values["encoder.mean"] == (0.4,)
  assert values["data.augment.color_jitter"] is None


def test_the_smaller_network_where_it_is_asked_for():
  values, is_small = chosen(found(), small=True)
  assert is_small and values["encoder.width"] == 96
  assert values["batch_size"] == 64
