"""What is covered is what is hidden, by the paths of the picture."""

import base64
import re

import cv2
import numpy as np

from d2v_jax.report.pictures import cells


def pixels_of(picture):
  """Pixels of the picture's image, as OpenCV has them."""
  kind, content = picture.find("image").get("href").split(";base64,")
  assert kind in ("data:image/png", "data:image/jpeg")
  data = np.frombuffer(base64.b64decode(content), np.uint8)
  return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)


def covered(picture, shape):
  """[H, W] bool: which pixels, of so many, its path covers."""
  _, _, width, height = map(float, picture.get("viewBox").split())
  found = np.zeros(shape, bool)
  path = picture.find("path[@class='hidden']")
  for x, y, w, h in re.findall(
    r"M([\d.]+) ([\d.]+)h([\d.]+)v([\d.]+)h-\3z", path.get("d")
  ):
    across, down = shape[1] / width, shape[0] / height
    left, top, right, bottom = (
      round(v)
      for v in (
        float(x) * across,
        float(y) * down,
        (float(x) + float(w)) * across,
        (float(y) + float(h)) * down,
      )
    )
    found[top:bottom, left:right] = True
  return found


def test_covered_cells():
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (6, 9, 3)).astype(np.uint8)
  hidden = rng.random((2, 3)) < 0.5
  made = cells.drawn(pixels, "x", hidden)
  np.testing.assert_array_equal(
    covered(made, (6, 9)), np.kron(hidden, np.ones((3, 3))).astype(bool)
  )
  np.testing.assert_array_equal(pixels_of(made), pixels[..., ::-1])
  assert made.get("aria-label") == "x"


def test_a_mark_is_around_its_cell():
  made = cells.drawn(
    np.zeros((8, 8), np.uint8), "x", np.zeros((4, 4), bool), (1, 2)
  )
  frame = made.find("rect[@class='frame']")
  assert [float(frame.get(k)) for k in ("x", "y", "width", "height")] == [
    60,
    30,
    30,
    30,
  ]
  assert made.find("path") is None


def test_photographs_are_small():
  pixels = np.zeros((1000, 500, 3), np.uint8)
  pixels[..., 0] = 200
  made = cells.drawn(pixels, "x")
  found = pixels_of(made)
  assert found.shape == (160, 80, 3)
  np.testing.assert_allclose(found.mean((0, 1)), [0, 0, 200], atol=3)
  assert made.get("viewBox") == "0 0 60 120"
