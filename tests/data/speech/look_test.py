import numpy as np
import pytest

from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.speech import look as speech_look
from tests.data.speech.recordings import encoded, sine


def look(audio, max_seconds=10.0, **record):
  return speech_look.look({"audio": audio, **record}, max_seconds)


def test_length_level_and_how_it_is_stored():
  wave = sine(samples=24_000, rate=48_000, amplitude=0.5)
  stereo = np.stack([wave, wave], 1)
  seen = look(encoded(stereo, rate=48_000), text="Hello")
  assert seen.kinds == {
    "format": "WAV PCM_16",
    "channels": "2",
    "rate": "48000 Hz",
  }
  assert seen.numbers == {
    "length, seconds": 0.5,
    # A sine of half the scale: 0.5 / sqrt(2).
    "level, dBFS": pytest.approx(-9.03, abs=0.05),
    "transcript, characters": 5,
  }
  array = look(wave, rate=48_000)
  assert array.kinds["format"] == "array float64"
  assert array.kinds["channels"] == "1"


def test_the_same_sound_in_other_files():
  wave = np.rint(sine() * 32768).astype(np.int16)
  same = {look(encoded(wave, kind)).digest for kind in ("wav", "flac", "aiff")}
  assert len(same) == 1
  assert look(encoded(-wave)).digest not in same


@pytest.mark.parametrize(
  ("audio", "reason"),
  [
    (np.zeros(8000), "silent"),
    (sine(), "cut short"),
    (sine(samples=16_000 * 11), "more than max_seconds=10"),
  ],
)
def test_what_cannot_be_used(audio, reason):
  data = encoded(audio)
  with pytest.raises(Unreadable, match=reason):
    look(data[:-100] if reason == "cut short" else data)
