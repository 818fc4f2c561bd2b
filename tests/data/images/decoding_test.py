import io
import re
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.images import decoding
from d2v_jax.data.images.pixels import Form
from tests.data.images.pictures import encoded, smooth


def refused(data, *arguments, **options):
  """Returns the reason."""
  with pytest.raises(Unreadable) as caught:
    decoding.decode(data, *arguments, **options)
  return str(caught.value)


def by_pillow(data, mode="RGB"):
  image = np.asarray(Image.open(io.BytesIO(data)).convert(mode)).astype(int)
  return image if image.ndim == 3 else image[..., None]


KINDS = {
  "jpeg": ("JPEG", {"quality": 95}),
  "progressive jpeg": ("JPEG", {"quality": 95, "progressive": True}),
  "png": ("PNG", {}),
  "bmp": ("BMP", {}),
  "gif": ("GIF", {}),
  "tiff": ("TIFF", {"compression": "tiff_lzw"}),
  "zstd tiff": ("TIFF", {"compression": "zstd"}),
  "lzma tiff": ("TIFF", {"compression": "lzma"}),
  "deflate tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
  "packbits tiff": ("TIFF", {"compression": "packbits"}),
  "jpeg tiff": ("TIFF", {"compression": "jpeg", "quality": 95}),
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


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_decode_unusual_modes(mode, channels):
  image = Image.fromarray(smooth()).convert(mode)
  data = encoded(image, "JPEG" if mode == "CMYK" else "PNG")
  expected = by_pillow(data, "RGB" if channels == 3 else "L")
  ours = decoding.decode(data, channels)
  assert ours.dtype == np.uint8 and ours.shape == (40, 60, channels)
  assert np.abs(ours - expected).max() <= 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_decode_turns_images_as_their_exif_data_say(kind):
  options = {"lossless": True} if kind == "WEBP" else {}
  for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(smooth(), kind, exif=exif, **options)
    seen = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    ours = decoding.decode(data, 3)
    np.testing.assert_array_equal(ours, np.asarray(seen.convert("RGB")))
    assert ours.flags.c_contiguous
  broken = encoded(smooth(), "JPEG", exif=b"Exif\0\0MM\0*\xff")
  assert decoding.decode(broken, 3).shape == (40, 60, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_decode_finds_cut_files(kind):
  name, options = KINDS[kind]
  data = encoded(smooth(), name, **options)
  for share in (0.0, 0.02, 0.3, 0.6, 0.9, 0.99):
    reason = refused(data[: int(len(data) * share)])
    assert "cut" in reason or "damaged" in reason or "no image" in reason


def test_decode_finds_a_cut_jpeg_with_a_whole_thumbnail_or_an_end():
  small = encoded(smooth(10, 15), "JPEG")
  exif = b"Exif\0\0MM\0*\0\0\0\x08" + small
  data = encoded(smooth(), "JPEG", exif=exif)
  assert decoding.decode(data, 3) is not None
  half = data[: len(data) - len(data) // 8]
  assert small in half
  assert refused(half) == refused(half + b"\xff\xd9") == "cut short"


@pytest.mark.parametrize("kind", KINDS)
def test_decode_does_without_what_follows(kind):
  name, options = KINDS[kind]
  data = encoded(smooth(), name, **options)
  truth = decoding.decode(data, 3)
  rng = np.random.default_rng(0)
  # A clip behind a photograph has all bytes; here also marks of JPEG and PNG.
  marks = b"\xff\xda\xff\xd8\xff\xd9\xff\xda\0\x0cIEND"
  for tail in (b"tail", bytes(1000), rng.bytes(300_000), marks, data):
    np.testing.assert_array_equal(decoding.decode(data + tail, 3), truth)


def test_decode_accepts_extra_bytes_in_front_of_the_end():
  data = encoded(smooth(), "JPEG")
  for filling in (b"abc", bytes(1000)):
    extra = data[:-2] + filling + data[-2:]
    np.testing.assert_array_equal(decoding.decode(extra, 3), by_pillow(data))


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "tiff"])
def test_decode_finds_damage_that_decoders_find(kind):
  # Where one would give what it has, half of the picture is something else.
  name, options = KINDS[kind]
  rng = np.random.default_rng(0)
  busy = rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)
  data = encoded(busy, name, **options)
  truth, reasons = decoding.decode(data, 3), []
  for _ in range(20):
    at = int(rng.integers(len(data) // 3, len(data) // 2))
    broken = data[:at] + rng.bytes(30) + data[at + 30 :]
    try:
      ours = decoding.decode(broken, 3)
    except Unreadable as error:
      reasons.append(str(error))
    else:
      # Only PNG and GIF's decoder tell all.
      assert kind in ("jpeg", "tiff") or np.array_equal(ours, truth)
  assert len(reasons) >= 10


@pytest.mark.parametrize(
  ("kind", "missing"), [("jpeg", 2), ("png", 12), ("png", 5), ("gif", 1)]
)
def test_decode_does_without_the_end_mark(kind, missing):
  name, options = KINDS[kind]
  data = encoded(smooth(), name, **options)
  truth = decoding.decode(data, 3)
  np.testing.assert_array_equal(decoding.decode(data[:-missing], 3), truth)
  # With a little more missing, pixels are.
  assert refused(data[: -missing - 40]) == "cut short"


@pytest.mark.parametrize(
  ("data", "reason"),
  [
    (b"", "no image that is read: empty"),
    (b"just text", "no image that is read: text"),
    (b"%PDF-1.7 ...", "no image that is read: PDF"),
    (b"\0\0\0\x18ftypheic" + bytes(9), "no image that is read: HEIF"),
    (b"version https://git-lfs.git", "no image that is read: .*git lfs pull"),
    (b"\xff\xd8\xff", "cut short"),
    (b"\xff\xd8\xff\xd9", "damaged: a JPEG without a scan"),
    (b"\x89PNG\r\n\x1a\n", "cut short"),
    (b"BM" + bytes(9), "cut short|damaged"),
    (b"GIF89a\1", "cut short|damaged"),
    (b"II*\0" + bytes(9), "a damaged or cut TIFF"),
    (b"RIFF\x04\0\0\0WEBP", "damaged"),
  ],
)
def test_decode_says_what_other_files_are(data, reason):
  assert re.match(reason, refused(data))


def test_decode_refuses_too_many_pixels():
  # 900 million pixels in 109 kB: all of them are to be refused unseen.
  header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
  chunk = b"IHDR" + header
  bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
  bomb += struct.pack(">I", zlib.crc32(chunk))
  assert refused(bomb).startswith(
    "30000 x 30000 pixels are more than max_pixels=100000000; set config.data."
  )
  for name, options in KINDS.values():
    data = encoded(smooth(), name, **options)
    assert "max_pixels=2399" in refused(data, form=Form(3, max_pixels=2399))
    assert decoding.decode(data, form=Form(3, max_pixels=2400)).size == 7200


def test_decode_sixteen_bits_are_scaled_or_refused():
  deep = np.arange(4096, dtype=np.uint16).reshape(64, 64)
  for kind in ("PNG", "TIFF"):
    data = encoded(Image.fromarray(deep), kind)
    reason = refused(data, 1)
    assert "uint16, here 0 to 4095, not 8 bits; set config.data.range" in reason
    ours = decoding.decode(data, form=Form(1, range=(0, 4095)))
    truth = np.rint(deep / 4095 * 255)
    np.testing.assert_array_equal(ours[..., 0], truth)
    # What is outside is set to the nearer end.
    ours = decoding.decode(data, form=Form(3, range=(1000, 2000)))
    truth = np.rint(np.clip((deep - 1000.0) / 1000, 0, 1) * 255)
    np.testing.assert_array_equal(ours, np.repeat(truth[..., None], 3, 2))


def test_decode_float_images_are_scaled_or_refused():
  heights = np.linspace(-5, 5, 2400, dtype=np.float32).reshape(40, 60)
  data = encoded(Image.fromarray(heights), "TIFF")
  assert "float32, here -5 to 5, not 8 bits" in refused(data, 1)
  ours = decoding.decode(data, form=Form(1, range=(-5.0, 5.0)))
  truth = (heights.astype(float) + 5) / 10 * 255
  assert np.abs(ours[..., 0] - truth).max() <= 0.5
  heights[0, 0] = np.nan
  data = encoded(Image.fromarray(heights), "TIFF")
  assert "not all finite" in refused(data, form=Form(1, range=(-5.0, 5.0)))


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_decode_deep_colours_keep_their_order(depth):
  most = np.iinfo(depth).max
  colours = (smooth().astype(np.float64) / 255 * most).astype(depth)
  for kind in (".png", ".tiff"):
    # OpenCV's order is blue, green, red.
    data = cv2.imencode(kind, colours[..., ::-1])[1].tobytes()
    ours = decoding.decode(data, form=Form(3, range=(0, int(most))))
    assert np.abs(ours.astype(int) - smooth()).max() <= 1


def test_decode_four_channels():
  four = np.dstack([smooth(), smooth(seed=5, channels=1)])
  opaque = four.copy()
  opaque[..., 3] = 255
  for kind in ("PNG", "TIFF", "WEBP"):
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(four), kind, **options)
    assert "it is transparent, or channel 4 is no alpha" in refused(data)
    np.testing.assert_array_equal(decoding.decode(data, 4), four)
    ours = decoding.decode(data, form=Form(3, background=255))
    share = four[..., 3:] / 255
    truth = four[..., :3] * share + 255 * (1 - share)
    assert np.abs(ours - truth).max() <= 0.5 + 1e-6
    data = encoded(Image.fromarray(opaque), kind, **options)
    np.testing.assert_array_equal(decoding.decode(data, 3), opaque[..., :3])
  assert "3 channels, not 4" in refused(encoded(smooth(), "PNG"), 4)


def test_decode_refuses_tiffs_that_decoders_would_cut():
  pages = [Image.fromarray(smooth(seed=k)) for k in range(3)]
  stack = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
  assert "several pages" in refused(stack)
  assert "6 channels, and at most four" in refused(tiff(smooth(channels=6)))
  assert "2 channels of 8 bits" in refused(tiff(smooth(channels=2)))


def tiff(image):
  """Writes uint8 [H, W, C] with all tags that a decoder needs."""
  height, width, channels = image.shape
  pixels, offset = image.tobytes(), 8
  entries = [
    *((256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1)),
    *((262, 3, 1), (273, 4, offset), (277, 3, channels), (278, 4, height)),
    (279, 4, len(pixels)),
  ]
  table = struct.pack("<H", len(entries))
  for tag, kind, value in entries:
    table += struct.pack("<HHII", tag, kind, 1, value)
  return (
    b"II*\0"
    + struct.pack("<I", 8 + len(pixels))
    + pixels
    + table
    + struct.pack("<I", 0)
  )


def test_decode_arrays():
  grey, colour = smooth(channels=1), smooth()
  assert decoding.decode(grey, 1) is grey
  np.testing.assert_array_equal(
    decoding.decode(grey, 3), np.repeat(grey, 3, axis=2)
  )
  luma = colour @ [0.299, 0.587, 0.114]
  assert np.abs(decoding.decode(colour, 1)[..., 0] - luma).max() <= 1
  ours = decoding.decode(colour / 255.0, form=Form(3, range=(0, 1)))
  np.testing.assert_array_equal(ours, colour)
  assert "float64" in refused(colour / 255.0)
  with pytest.raises(ValueError, match=r"C 1 to 1024, got uint8 \[40, 60, 0\]"):
    decoding.decode(smooth()[..., :0], 3)
