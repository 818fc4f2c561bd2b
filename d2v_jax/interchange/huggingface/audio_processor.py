"""Feature extractors of Hugging Face <-> how our runs prepare recordings.

Source: the behaviour of transformers' Wav2Vec2FeatureExtractor.
"""

from typing import Any

from d2v_jax.data.speech.decoding import SAMPLE_RATE
from d2v_jax.interchange.files import Folder, to_json
from d2v_jax.interchange.huggingface import preprocessor

# It adds this to the variance by which it divides.
VARIANCE_FLOOR = 1e-7
_TYPE = "Wav2Vec2FeatureExtractor"
# Field -> the value that ours have.
_ONLY = {
  "feature_extractor_type": _TYPE,
  "feature_size": 1,
  "sampling_rate": SAMPLE_RATE,
  "padding_side": "right",
  "padding_value": 0.0,
  "do_normalize": True,
}
# Each recording is prepared by itself here.
_HARMLESS = ("return_attention_mask", "processor_class")


def read(folder: Folder) -> tuple[dict[str, Any], list[str]]:
  """What config.data has for the folder's recordings, and notes.

  Args:
    folder: that may have a feature extractor.

  Raises:
    InterchangeError: recordings are prepared in another way than ours can be.
  """
  parts = ("feature_extractor", "audio_processor")
  file, config = preprocessor.find(folder, *parts)
  data = {"variance_floor": VARIANCE_FLOOR}
  if config is None:
    note = (
      f"there is no {file}: recordings are brought to {SAMPLE_RATE} Hz, zero "
      "mean and unit variance"
    )
    return data, [note]
  preprocessor.require_known(config, (*_ONLY, *_HARMLESS))
  for name, value in _ONLY.items():
    config.require(name, value)
  return data, []


def write() -> bytes:
  """The file for recordings that are prepared as ours are."""
  return to_json(dict(_ONLY, return_attention_mask=True))
