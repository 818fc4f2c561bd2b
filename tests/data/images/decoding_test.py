import io

import numpy as np
import pytest
from PIL import Image

from d2v_jax.data.images import decoding
from tests.data.images.pictures import encoded, smooth


def by_pillow(data, mode="RGB"):
  image = np.asarray(Image.open(io.BytesIO(data)).convert(mode)).astype(int)
  return image if image.ndim == 3 else image[..., None]


KINDS = {
  "jpeg": ("JPEG", {"quality": 95}),
  "progressive jpeg": ("JPEG", {"quality": 95, "progressive": True}),
  "png": ("PNG", {}),
  "bmp": ("BMP", {}),
  "tiff": ("TIFF", {"compression": "tiff_lzw"}),
  "webp": ("WEBP", {"lossless": True}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_decode_equals_pillow(kind, channels):
  name, options = KINDS[kind]
  data = encoded(smooth(), name, **options)
  ours = decoding.decode(data, channels)
  assert ours.dtype == np.uint8 and ours.shape == (40, 60, channels)
  assert ours.flags.c_contiguous
  theirs = by_pillow(data, "RGB" if channels == 3 else "L")
  # A JPEG's grey is its stored luma, Pillow's is made of the RGB.
  assert np.abs(ours - theirs).max() <= (0 if channels == 3 else 2)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "I;16", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_decode_unusual_modes(mode, channels):
  grey = smooth(channels=1)[..., 0]
  if mode == "I;16":
    data = encoded(Image.fromarray(grey.astype(np.uint16) * 257), "PNG")
    expected = np.repeat(grey[..., None], channels, 2).astype(int)
  else:
    image = Image.fromarray(smooth()).convert(mode)
    data = encoded(image, "JPEG" if mode == "CMYK" else "PNG")
    expected = by_pillow(data, "RGB" if channels == 3 else "L")
  ours = decoding.decode(data, channels)
  assert ours.dtype == np.uint8 and ours.shape == (40, 60, channels)
  assert np.abs(ours - expected).max() <= 2


def test_decode_ignores_the_orientation():
  exif = Image.Exif()
  exif[0x0112] = 6  # rotate by 90 degrees
  for kind in ("JPEG", "PNG"):
    data = encoded(smooth(), kind, exif=exif)
    assert decoding.decode(data, 3).shape == (40, 60, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_decode_finds_cut_files(kind):
  name, options = KINDS[kind]
  data = encoded(smooth(), name, **options)
  for share in (0.0, 0.02, 0.3, 0.6, 0.9, 0.99):
    assert decoding.decode(data[: int(len(data) * share)], 3) is None


def test_decode_finds_a_cut_jpeg_with_a_whole_thumbnail_or_an_end():
  small = encoded(smooth(10, 15), "JPEG")
  exif = b"Exif\0\0MM\0*\0\0\0\x08" + small
  data = encoded(smooth(), "JPEG", exif=exif)
  assert decoding.decode(data, 3) is not None
  half = data[: len(data) - len(data) // 8]
  assert small in half
  assert decoding.decode(half, 3) is None
  assert decoding.decode(half + b"\xff\xd9", 3) is None


def test_decode_accepts_harmless_extra_bytes():
  data = encoded(smooth(), "JPEG")
  truth = by_pillow(data)
  for extra in (data + b"tail", data[:-2] + b"abc" + data[-2:]):
    np.testing.assert_array_equal(decoding.decode(extra, 3), truth)


@pytest.mark.parametrize(
  "data", [b"", b"just text", b"\xff\xd8\xff", b"\x89PNG"]
)
def test_decode_finds_other_files(data):
  assert decoding.decode(data, 3) is None


def test_decode_arrays():
  grey, colour = smooth(channels=1), smooth()
  assert decoding.decode(grey, 1) is grey
  np.testing.assert_array_equal(
    decoding.decode(grey, 3), np.repeat(grey, 3, axis=2)
  )
  luma = colour @ [0.299, 0.587, 0.114]
  assert np.abs(decoding.decode(colour, 1)[..., 0] - luma).max() <= 1
  with pytest.raises(ValueError, match=r"got float64 \[40, 60, 3\]"):
    decoding.decode(colour / 255.0, 3)
