"""The table of modalities: which network, and which data."""

import dataclasses
from collections.abc import Callable, Mapping

from d2v_jax.data.dataset import Dataset
from d2v_jax.data.images.dataset import ImageData
from d2v_jax.data.signals.dataset import SignalData
from d2v_jax.data.spectrograms.dataset import SpectrogramData
from d2v_jax.data.speech.dataset import SpeechData
from d2v_jax.data.text.dataset import TextData
from d2v_jax.models import spectrogram
from d2v_jax.models.encoder import Encoder
from d2v_jax.models.signal import signal, visible_signal
from d2v_jax.models.speech import speech
from d2v_jax.models.text import text
from d2v_jax.models.visible_speech import visible_speech
from d2v_jax.models.visible_text import visible_text
from d2v_jax.models.visible_vision import visible_vit
from d2v_jax.models.vision import vit


@dataclasses.dataclass(frozen=True)
class Modality:
  """One row of the table.

  Attributes:
    encoders: config.encoder.name -> constructor of config.encoder; those with
      visible_ are data2vec 2.0's.
    data: constructor of config.data.
  """

  encoders: Mapping[str, Callable[..., Encoder]]
  data: Callable[..., Dataset]


MODALITIES = {
  "vision": Modality({"vit": vit, "visible_vit": visible_vit}, ImageData),
  "speech": Modality(
    {"speech": speech, "visible_speech": visible_speech}, SpeechData
  ),
  "spectrogram": Modality(
    {"vit": spectrogram.vit, "visible_vit": spectrogram.visible_vit},
    SpectrogramData,
  ),
  "signal": Modality(
    {"signal": signal, "visible_signal": visible_signal}, SignalData
  ),
  "text": Modality({"text": text, "visible_text": visible_text}, TextData),
}
