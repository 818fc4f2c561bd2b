"""Feature extractors of recordings."""

import json

import pytest

from d2v_jax.interchange.huggingface import folder as huggingface
from d2v_jax.interchange.weights import InterchangeError
from tests.interchange.folders import edit

NAME = "preprocessor_config.json"
WHOLE = "processor_config.json"


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
  "fields, message",
  [
    ({"do_normalize": False}, "do_normalize=False: .* has only True"),
    ({"sampling_rate": 8000}, "sampling_rate=8000: .* has only 16000"),
    ({"padding_side": "left"}, "padding_side='left'"),
    ({"padding_value": -1.0}, r"padding_value=-1\.0"),
    (
      {"feature_extractor_type": "SeamlessM4TFeatureExtractor"},
      "has only 'Wav2Vec2FeatureExtractor'",
    ),
    ({"num_mel_bins": 80}, "num_mel_bins=80: it is not known what this field"),
  ],
)
def test_recordings_must_be_prepared_as_ours(exported, fields, message, whole):
  folder = exported("speech")
  edit(folder, NAME, **fields)
  if whole:
    content = json.loads((folder / NAME).read_text())
    (folder / NAME).unlink()
    parts = {"processor_class": "X", "feature_extractor": content}
    (folder / WHOLE).write_text(json.dumps(parts))
    message = f"{WHOLE}: config.feature_extractor.*{message}"
  with pytest.raises(InterchangeError, match=message):
    huggingface.read(folder)


def test_what_is_read(exported):
  folder = exported("speech")
  edit(folder, NAME, return_attention_mask=False, dither=None)
  model = huggingface.read(folder)
  assert model.data == {"variance_floor": 1e-7}
  (folder / NAME).unlink()
  assert "brought to 16000 Hz" in str(huggingface.read(folder).notes)
  (folder / WHOLE).write_text('{"processor_class": "X", "chat": "y"}')
  with pytest.raises(InterchangeError, match="chat='y': it is not known"):
    huggingface.read(folder)
