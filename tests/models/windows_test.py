import re

import numpy as np
import pytest

from d2v_jax.data.layout import WaveformInputs, num_frames
from d2v_jax.models.windows import conv_layers


def test_windows_are_what_outputs_see():
  windows = ((8, 0.04, 0.02), (16, 0.1, 0.04), (4, 0.5, 0.2))
  layers = conv_layers("signal", 250.0, windows)
  assert layers == ((8, 10, 5), (16, 4, 2), (4, 11, 5))
  # Of each layer alone: the least signal that makes one and two outputs.
  for k, (_, width, step) in enumerate(windows, 1):
    made = num_frames(np.arange(400), layers[:k])
    one, two = np.argmax(made == 1), np.argmax(made == 2)
    assert one == pytest.approx(width * 250, abs=1)
    assert two - one == pytest.approx(step * 250, abs=1)
  inputs = WaveformInputs(layers, 4, rate=250.0, channels=2)
  assert inputs.hop == 50
  assert inputs.example(3)["inputs"].shape == (3, inputs.shortest, 2)


def test_whole_samples_are_taken_where_they_are_near():
  # 6.4 and 12.8 samples.
  assert conv_layers("signal", 128.0, ((8, 0.1, 0.05),)) == ((8, 13, 6),)


@pytest.mark.parametrize(
  ("rate", "windows", "message"),
  [
    (0.0, ((8, 1.0, 1.0),), "rate must be the signal's samples per second"),
    (10.0, (), r"at least one \(channels, seconds that an output sees"),
    (10.0, ((8, 0.5),), r"windows\[0\] must be .* got \(8, 0.5\)"),
    (10.0, ((8.5, 0.5, 0.5),), r"windows\[0\] must be .* all above 0"),
    (10.0, ((8, 0.5, 0.0),), "all above 0"),
    (
      10.0,
      ((8, 0.3, 0.1), (8, 0.5, 0.15)),
      r"windows\[1\]: the step of 0.15 s is 1.5 samples at 10 Hz, and here it "
      r"can be 0.1 or 0.2 s; take one",
    ),
    (
      10.0,
      ((8, 0.3, 0.2), (8, 0.4, 0.2)),
      "the width of 0.4 s is 4 .* can be 0.3 or 0.5 s",
    ),
    (10.0, ((8, 0.2, 0.4),), "sees 0.2 s every 0.4 s, so that some samples"),
    (10.0, ((8, 1e12, 0.1),), "is too long"),
  ],
)
def test_what_is_refused(rate, windows, message):
  with pytest.raises(ValueError, match=message) as error:
    conv_layers("signal", rate, windows)
  assert re.match("signal: ", str(error.value))
