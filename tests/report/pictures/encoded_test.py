"""Sound that is played is the sound that was given."""

import base64
import io

import numpy as np
import soundfile

from d2v_jax.report.pictures import encoded


def test_sound_comes_back():
  rate = 16_000
  samples = np.sin(2 * np.pi * 440 * np.arange(10 * rate) / rate)
  player = encoded.sound(3 * samples, rate)
  kind, content = player.get("src").split(";base64,")
  assert kind == "data:audio/mpeg"
  content = base64.b64decode(content)
  assert len(content) < 30_000
  found, found_rate = soundfile.read(io.BytesIO(content))
  assert found_rate == rate
  assert abs(len(found) / rate - 3) < 0.2
  spectrum = np.abs(np.fft.rfft(found[rate : 2 * rate]))
  assert abs(int(spectrum.argmax()) - 440) <= 1
  assert 0.7 < np.abs(found[rate : 2 * rate]).max() < 1


def test_silence_is_no_error():
  assert encoded.sound(np.zeros(100), 16_000).get("src").startswith("data:")
