import io

import numpy as np
import pytest
from PIL import Image

from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.images import look as image_look
from d2v_jax.data.images.pixels import Form
from tests.data.images.pictures import picture


def encoded(pixels, kind="PNG", mode=None):
  buffer = io.BytesIO()
  image = Image.fromarray(pixels.squeeze())
  (image.convert(mode) if mode else image).save(buffer, kind)
  return buffer.getvalue()


def look(image, channels=3, **form):
  return image_look.look({"image": image}, Form(channels, **form))


def test_moments_are_those_of_values_from_0_to_1():
  image = picture()
  found = look(image).moments
  values = image.astype(np.float64).reshape(-1, 3) / 255
  np.testing.assert_allclose(found[0], values.mean(0), rtol=1e-12)
  np.testing.assert_allclose(found[1], (values**2).mean(0), rtol=1e-12)


def test_the_same_picture_in_other_files():
  image = picture()
  looks = [look(image), *(look(encoded(image, k)) for k in ("PNG", "TIFF"))]
  assert len({x.digest for x in looks}) == 1
  assert look(image[::-1]).digest != looks[0].digest
  height, width, _ = image.shape
  assert looks[1].numbers == {"width, pixels": width, "height, pixels": height}


@pytest.mark.parametrize(
  ("kind", "mode", "names"),
  [
    ("PNG", None, ("PNG", "RGB", "8 bits")),
    ("PNG", "L", ("PNG", "grey", "8 bits")),
    ("PNG", "P", ("PNG", "palette", "8 bits")),
    ("PNG", "1", ("PNG", "grey", "1 bits")),
    ("JPEG", None, ("JPEG", "RGB", "8 bits")),
    ("JPEG", "L", ("JPEG", "grey", "8 bits")),
    ("JPEG", "CMYK", ("JPEG", "CMYK", "8 bits")),
    ("TIFF", None, ("TIFF", "RGB", "8 bits")),
    ("TIFF", "L", ("TIFF", "grey", "8 bits")),
    ("WEBP", None, ("WEBP", "RGB", "8 bits")),
    ("GIF", None, ("GIF", "palette", "8 bits")),
    ("BMP", None, ("BMP", "RGB", "8 bits")),
  ],
)
def test_how_it_is_stored(kind, mode, names):
  kinds = look(encoded(picture(), kind, mode)).kinds
  assert tuple(kinds.values()) == names


def test_deep_images_and_arrays():
  deep = np.array([[0, 65535], [30000, 7]], np.uint16)
  kinds = look(encoded(deep), range=(0, 65535)).kinds
  assert tuple(kinds.values()) == ("PNG", "grey", "16 bits")
  kinds = look(picture(channels=1)).kinds
  assert tuple(kinds.values()) == ("array", "grey", "uint8")


@pytest.mark.parametrize(
  ("level", "spots", "oddity"),
  [
    (0, 0, "near-black"),
    (16, 0, "near-black"),
    (0, 10, "near-black"),  # a thousandth is bright
    (0, 11, ""),
    (17, 0, "one colour all over"),
    (255, 0, "one colour all over"),
    (255, 1, ""),
  ],
)
def test_odd_images(level, spots, oddity):
  image = np.full((100, 100, 1), level, np.uint8)
  image[0, :spots] = 200
  assert look(image, channels=1).oddity == oddity


def test_what_cannot_be_read():
  with pytest.raises(Unreadable, match="cut short"):
    look(encoded(picture())[:-30])
