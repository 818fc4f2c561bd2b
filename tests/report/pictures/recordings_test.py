"""Spans of waveforms are as long as the frames that they stand for."""

import re

import numpy as np
import pytest

from d2v_jax.data.layout import WaveformInputs
from d2v_jax.report.pictures.recordings import RecordingDrawer
from tests.report.pictures.cells_test import pixels_of

INPUTS = WaveformInputs(((4, 10, 10),), 4)  # 10 samples a frame


def row(channels=()):
  rng = np.random.default_rng(0)
  samples = rng.normal(size=(100, *channels)).astype(np.float32)
  return {"inputs": samples, "padding": np.arange(10) >= 8}


def shares(picture, kind):
  """Where spans begin and how long they are, as shares of the picture."""
  _, _, width, _ = map(float, picture.get("viewBox").split())
  spans = picture.findall(f"rect[@class='{kind}']")
  return [
    (float(x.get("x")) / width, float(x.get("width")) / width) for x in spans
  ]


def test_hidden_spans():
  mask = np.zeros(10, bool)
  mask[1:3] = mask[5] = True
  made = RecordingDrawer(INPUTS).hidden(row(), mask)
  found = np.array(shares(made, "hidden"))
  np.testing.assert_allclose(found, [(0.1, 0.2), (0.5, 0.1)], atol=1e-3)
  assert found[:, 1].sum() == pytest.approx(mask.mean(), abs=1e-3)
  assert shares(made, "padding") == [(0.8, 0.2)]
  assert RecordingDrawer(INPUTS).tokens(row()) == 8


def test_the_wave_is_that_of_the_samples():
  example = row()
  made = RecordingDrawer(INPUTS).plain(example)
  points = made.find("path").get("d")[1:].split("L")
  x, y = np.array([p.split() for p in points], float).T
  samples = example["inputs"]
  np.testing.assert_allclose(np.diff(x), 3.3, atol=0.11)  # of 330 pixels
  expected = 18 - 16 * samples / np.abs(samples).max()
  np.testing.assert_allclose(y, expected, atol=0.06)


def test_many_samples_are_drawn_as_ranges():
  samples = np.random.default_rng(0).normal(size=2200).astype(np.float32)
  example = {"inputs": samples, "padding": np.zeros(220, bool)}
  path = RecordingDrawer(INPUTS).plain(example).find("path").get("d")
  bars = [re.split("[ V]", x) for x in path[1:].split("M")]
  x, low, high = np.array(bars, float).T
  np.testing.assert_allclose(np.diff(x), 1.5, atol=0.11)
  y = 18 - 16 * samples.reshape(220, 10) / np.abs(samples).max()
  np.testing.assert_allclose(high, y.min(1), atol=0.06)
  np.testing.assert_allclose(low, y.max(1) + 0.3, atol=0.06)


def test_channels_are_below_one_another():
  made = RecordingDrawer(INPUTS).plain(row((3,)))
  assert len(made.findall("path")) == 3
  assert made.get("viewBox") == "0 0 330 108"


def test_colours_of_frames():
  rng = np.random.default_rng(0)
  colours = rng.integers(0, 256, (10, 3)).astype(np.uint8)
  made = RecordingDrawer(INPUTS).coloured(row(), colours)
  np.testing.assert_array_equal(pixels_of(made)[0, :, ::-1], colours)
  assert float(made.find("image").get("width")) == pytest.approx(330)
