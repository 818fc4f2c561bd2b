"""What is found in data whose numbers are known."""

import numpy as np
import pytest

from d2v_jax.config import ConfigError
from d2v_jax.data.checking.look import Look
from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.deriving import findings


class Records:
  """Records that are looks already, or errors."""

  def __init__(self, looks):
    self._looks = looks

  def __len__(self):
    return len(self._looks)

  def __getitem__(self, index):
    return {"look": self._looks[index]}

  def record_name(self, index):
    return f"record {index}"


class Data:
  num_threads = 1

  def look(self, record):
    if isinstance(record["look"], Exception):
      raise record["look"]
    return record["look"]


def of(modality, looks):
  return findings.of(modality, Data(), Records(looks))


def image(width, height, values, channels="RGB"):
  values = np.array(values)  # [C, n]
  return Look(
    b"",
    numbers={"width, pixels": width, "height, pixels": height},
    kinds={"channels": channels},
    moments=np.stack([values.mean(1), (values**2).mean(1)]),
  )


def test_images():
  pixels = [[[0.0, 0.2], [0.5, 0.5], [0.1, 0.3]], [[0.4, 0.6]] * 3]
  looks = [image(30, 20, pixels[0]), image(8, 9, pixels[1], "grey")]
  found = of("vision", [*looks, Unreadable("damaged"), *looks])
  assert (found.count, found.sides, found.channels) == (4, (20, 8, 20, 8), 3)
  all_pixels = np.concatenate(pixels, axis=1)
  np.testing.assert_allclose(found.mean, all_pixels.mean(1))
  np.testing.assert_allclose(found.std, all_pixels.std(1))


def test_grey_images_are_found():
  look = image(9, 9, [[0.1, 0.2]] * 3, "grey, alpha")
  assert of("vision", [look, look]).channels == 1


def test_images_of_one_colour_can_be_divided_by_their_std():
  assert of("vision", [image(9, 9, [[0.5]] * 3)]).std == (0.01,) * 3


def test_recordings():
  looks = [Look(b"", numbers={"length, seconds": x}) for x in (0.5, 3.0)]
  found = of("speech", looks)
  assert (found.count, found.seconds) == (2, (0.5, 3.0))


def test_texts():
  looks = [Look(b"", numbers={"length, characters": x}) for x in (10, 30)]
  found = of("text", [*looks, *looks, Unreadable("x")])
  assert (found.count, found.characters) == (4, 80)


def test_nothing_that_can_be_used():
  said = "none of 2 records .* first is record 0: no image.*d2v check"
  with pytest.raises(ConfigError, match=said):
    of("vision", [Unreadable("no image"), Unreadable("no image")])
