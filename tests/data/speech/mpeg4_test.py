import io
import sys

import av
import numpy as np
import pytest

from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.speech import decoding
from tests.data.speech.recordings import encoded, sine


def aac(samples, container="ipod", rate=16_000):
  buffer = io.BytesIO()
  with av.open(buffer, "w", format=container) as file:
    stream = file.add_stream("aac", rate=rate, layout="mono")
    stream.bit_rate = 96_000
    frame = av.AudioFrame.from_ndarray(
      samples[None].astype(np.float32), format="fltp", layout="mono"
    )
    frame.sample_rate = rate
    for given in (frame, None):
      for packet in stream.encode(given):
        file.mux(packet)
  return buffer.getvalue()


@pytest.mark.parametrize("container", ["ipod", "mp4", "adts"])
def test_aac_is_read(container):
  truth = sine(48_000)
  data = aac(truth, container)
  samples = decoding.decode(data)
  # The encoder adds silence at both ends; the sound in between is the same.
  assert 48_000 <= len(samples) <= 48_000 + 4096
  spectrum = np.abs(np.fft.rfft(samples[4096:-4096]))
  frequency = spectrum.argmax() * 16_000 / len(samples[4096:-4096])
  assert frequency == pytest.approx(440, abs=1)
  middle = samples[8000:40_000]
  np.testing.assert_allclose(middle.std(), truth.std(), rtol=0.05)
  assert decoding.header(data) == (len(samples), 16_000)
  assert decoding.measured(data) == (len(samples), 16_000)


def test_what_is_wrong_with_aac():
  data = aac(sine(48_000))
  for broken in (data[: len(data) // 2], data[:100], b"\0\0\0\x18ftypM4A "):
    with pytest.raises(Unreadable, match=r"damaged or cut short|without sound"):
      decoding.decode(broken)
  with pytest.raises(Unreadable, match="are more than max_seconds=2"):
    decoding.decode(data, max_seconds=2)


def test_without_the_package(monkeypatch):
  monkeypatch.setitem(sys.modules, "av", None)
  with pytest.raises(Unreadable, match=r"needs the package av: pip install"):
    decoding.decode(aac_bytes := b"\xff\xf1" + bytes(20))
  assert len(aac_bytes) == 22
  assert len(decoding.decode(encoded(sine()))) == 8000
