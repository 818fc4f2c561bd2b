"""The table of modalities: which network, and which data."""

import dataclasses
from collections.abc import Callable

from d2v_jax.data.dataset import Dataset
from d2v_jax.data.images.dataset import ImageData
from d2v_jax.data.speech.dataset import SpeechData
from d2v_jax.data.text.dataset import TextData
from d2v_jax.models import speech, text, vision
from d2v_jax.models.encoder import Encoder


@dataclasses.dataclass(frozen=True)
class Modality:
  """One row of the table.

  Attributes:
    encoder: constructor of config.encoder.
    data: constructor of config.data.
  """

  encoder: Callable[..., Encoder]
  data: Callable[..., Dataset]


MODALITIES = {
  "vision": Modality(vision.vit, ImageData),
  "speech": Modality(speech.speech, SpeechData),
  "text": Modality(text.text, TextData),
}
