"""preprocessor_config.json of images and of speech."""

import numpy as np
import pytest

from d2v_jax.interchange.huggingface import folder as huggingface
from d2v_jax.interchange.weights import InterchangeError
from tests.interchange.folders import edit


@pytest.mark.parametrize(
  "fields, message",
  [
    ({"do_normalize": False}, "do_normalize=False: .* has only True"),
    ({"sampling_rate": 8000}, "sampling_rate=8000: .* has only 16000"),
    ({"padding_side": "left"}, "padding_side='left'"),
  ],
)
def test_audio_must_be_prepared_as_ours(exported, fields, message):
  folder = exported("speech")
  edit(folder, "preprocessor_config.json", **fields)
  with pytest.raises(InterchangeError, match=message):
    huggingface.read(folder)


@pytest.mark.parametrize(
  "fields, mean, std",
  [
    ({"image_mean": [0.1, 0.2, 0.3]}, (0.1, 0.2, 0.3), (0.229, 0.224, 0.225)),
    ({"do_normalize": False}, (0.0,), (1.0,)),
    ({"image_mean": 51.0, "image_std": 255.0, "do_rescale": False}, 0.2, 1.0),
    ({"rescale_factor": 2 / 255, "image_mean": 1.0, "image_std": 2.0}, 0.5, 1),
  ],
)
def test_images_are_prepared_as_theirs(exported, fields, mean, std):
  folder = exported("vision")
  edit(folder, "preprocessor_config.json", **fields)
  encoder = huggingface.read(folder).encoder
  np.testing.assert_allclose(encoder["mean"], np.atleast_1d(mean), atol=1e-7)
  np.testing.assert_allclose(encoder["std"], np.atleast_1d(std), atol=1e-7)
  edit(folder, "preprocessor_config.json", image_std=[0.5, 0.5])
  if fields.get("do_normalize", True):
    with pytest.raises(InterchangeError, match=r"image_std=.* 1 or 3 numbers"):
      huggingface.read(folder)


def test_another_size_of_images_is_noted(exported):
  folder = exported("vision")
  edit(folder, "preprocessor_config.json", crop_size=224)
  assert "images of 224 pixels, the model has 16" in str(
    huggingface.read(folder).notes
  )
