import numpy as np

from d2v_jax.data.checking import moments
from d2v_jax.data.checking.survey import survey
from d2v_jax.data.images.look import look
from d2v_jax.data.images.pixels import Form
from tests.data.checking.things import surveyed
from tests.data.images.pictures import picture


class Pictures(list):
  def record_name(self, index):
    return str(index)


def of(images):
  source = Pictures({"image": image} for image in images)
  found = survey("x", source, lambda r: look(r, Form()), range(len(source)))
  return moments.of(found)


def test_over_all_values_of_images_of_one_size():
  images = [picture(30, 40, seed=k) for k in range(3)]
  values = np.stack(images).astype(np.float64).reshape(-1, 3) / 255
  found = of(images)
  np.testing.assert_allclose(found.mean, values.mean(0), rtol=1e-12)
  np.testing.assert_allclose(found.std, values.std(0), rtol=1e-9)


def test_a_large_image_counts_as_much_as_a_small_one():
  images = [np.full((h, h, 3), x, np.uint8) for h, x in ((4, 0), (40, 255))]
  found = of(images)
  np.testing.assert_allclose(found.mean, [0.5] * 3)
  np.testing.assert_allclose(found.std, [0.5] * 3)


def test_of_what_has_no_channels():
  assert moments.of(surveyed("x", [1, 2])) is None
