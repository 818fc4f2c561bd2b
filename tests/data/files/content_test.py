import gzip
import io

import numpy as np
import pytest
from PIL import Image

from d2v_jax.data.files.content import look_of


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "AVIF"])
def test_images_that_pillow_writes(kind):
  buffer = io.BytesIO()
  Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(buffer, kind)
  assert look_of(buffer.getvalue()) == kind


@pytest.mark.parametrize(
  ("data", "look"),
  [
    (b"", "empty"),
    (bytes(10), "zeros"),
    (b"some words\n", "text"),
    ("Grüße".encode(), "text"),
    (b"\x01\x02\x03", "of an unknown kind"),
    (b" <!doctype HTML><p>", "a web page"),
    (b"<?xml version='1.0'?>", "XML or SVG"),
    (b"\0\0\0\x18ftypM4A more", "MPEG-4 audio"),
    (b"\0\0\0\x18ftypmp42", "MPEG-4"),
    (b"RIFF\0\0\0\0WAVE", "WAVE"),
    (b"FORM\0\0\0\0AIFF", "AIFF"),
    (gzip.compress(b"x", mtime=0), "gzip"),
    (
      b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
      "a pointer of Git LFS; `git lfs pull` brings the file",
    ),
  ],
)
def test_looks(data, look):
  assert look_of(data) == look
