import pytest

from d2v_jax import config
from d2v_jax.config import ConfigError
from d2v_jax.data.layout import WaveformInputs
from d2v_jax.data.masks.signal import MASKS
from d2v_jax.data.masks.speech import FrameBlockMask, SpanMask

# Frames are 0.2 s apart.
INPUTS = WaveformInputs(((4, 5, 2),), width=8, rate=10.0, channels=2)


def build(name, **fields):
  spec = {"name": name, **fields}
  return config.build(spec, MASKS, "config.data.mask", run={"inputs": INPUTS})


def test_seconds_become_frames():
  assert build("spans", seconds=1.0, prob=0.5) == SpanMask(0.5, 5)
  assert build("spans", seconds=0.29).length == 1
  assert build("frame_blocks", seconds=0.5) == FrameBlockMask(length=2)


def test_what_is_refused():
  with pytest.raises(ConfigError, match=r"at least a frame's 0.2, got 0.05"):
    build("spans", seconds=0.05)
  with pytest.raises(
    ConfigError, match=r"config.data.mask.length: unknown fie"
  ):
    build("spans", length=5)
  with pytest.raises(ConfigError, match="missing field: seconds"):
    build("frame_blocks")
