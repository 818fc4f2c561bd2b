"""Patches of images and spectrograms lie where the network has them."""

import numpy as np

from d2v_jax.data.layout import ImageInputs, SpectrogramInputs
from d2v_jax.report.pictures.images import ImageDrawer, SpectrogramDrawer
from tests.report.pictures.cells_test import covered, pixels_of

RNG = np.random.default_rng(0)


def test_patches_of_images_are_row_by_row():
  drawer = ImageDrawer(ImageInputs((4, 6), 2))
  row = {"inputs": RNG.integers(0, 256, (4, 6, 3)).astype(np.uint8)}
  mask = np.array([1, 0, 0, 0, 0, 1], bool)
  made = drawer.hidden(row, mask)
  expected = np.zeros((4, 6), bool)
  expected[:2, :2] = expected[2:, 4:] = True
  np.testing.assert_array_equal(covered(made, (4, 6)), expected)
  np.testing.assert_array_equal(pixels_of(made)[..., ::-1], row["inputs"])
  assert made.get("aria-label") == "2 of 6 patches are hidden"
  colours = RNG.integers(0, 256, (6, 3)).astype(np.uint8)
  found = pixels_of(drawer.coloured(row, colours))[..., ::-1]
  np.testing.assert_array_equal(found.reshape(6, 3), colours)
  assert drawer.tokens(row) == 6


def test_the_first_of_other_numbers_of_channels():
  drawer = ImageDrawer(ImageInputs(4, 2))
  row = {"inputs": RNG.integers(0, 256, (4, 4, 5)).astype(np.uint8)}
  np.testing.assert_array_equal(
    pixels_of(drawer.plain(row)), row["inputs"][..., 0]
  )


def test_time_goes_right_and_low_bands_are_below():
  drawer = SpectrogramDrawer(SpectrogramInputs((6, 4), 2))
  values = np.zeros((6, 4, 1), np.float32)
  values[4:, :2] = 5.0  # the end, low bands
  row = {"inputs": values, "padding": np.arange(6) >= 4}
  loud = pixels_of(drawer.plain(row)).sum(2)
  assert loud.shape == (4, 6)
  np.testing.assert_array_equal(
    np.argwhere(loud == loud.max()), [[2, 4], [2, 5], [3, 4], [3, 5]]
  )
  mask = np.zeros((3, 2), bool)
  mask[2, 0] = True  # the same patch
  hidden = covered(drawer.hidden(row, mask.reshape(-1)), (4, 6))
  np.testing.assert_array_equal(hidden, loud == loud.max())
  frame = drawer.marked(row, 4).find("rect[@class='frame']")
  assert (float(frame.get("x")), float(frame.get("y"))) == (80, 40)
  assert drawer.tokens(row) == 4
