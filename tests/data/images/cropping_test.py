import numpy as np
import pytest
from PIL import Image

from d2v_jax.data.images.cropping import crop_box, resize
from tests.data.images.pictures import picture


def test_crop_boxes_have_the_right_area_and_aspect():
  rng = np.random.default_rng(0)
  boxes = np.array(
    [crop_box(rng, (300, 400), (0.2, 0.5), (3 / 4, 4 / 3)) for _ in range(2000)]
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
  assert crop_box(rng, shape, (1.0, 1.0), (3 / 4, 4 / 3)) == box


def test_shrinking_averages_areas():
  image = picture(64, 96)
  exact = image.reshape(32, 2, 48, 2, 3).mean((1, 3))
  small = resize(image, (32, 48))
  assert np.abs(small - exact).max() <= 0.5


def test_shrinking_does_not_alias():
  image = np.zeros((256, 256, 1), np.uint8)
  image[:, ::2] = 255  # the finest stripes there are
  small = resize(image, (100, 100))
  assert small.shape == (100, 100, 1)
  # Their mean is 127.5; sampling without averaging would give 0 and 255.
  assert np.abs(small.astype(float) - 127.5).max() < 35


def test_enlarging_is_close_to_pillow():
  image = picture(40, 50)
  ours = resize(image, (80, 110)).astype(int)
  theirs = Image.fromarray(image).resize((110, 80), Image.Resampling.BICUBIC)
  assert np.abs(ours - np.asarray(theirs)).mean() < 1
