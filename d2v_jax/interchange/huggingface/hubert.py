"""HuBERT of Hugging Face -> our speech encoder: wav2vec 2.0 by another name.

Source: the behaviour of transformers' HubertModel and its heads.
"""

from d2v_jax.interchange.huggingface import wav2vec2

MODEL_TYPE = "hubert"
PREFIX = "hubert"
BASE = "HubertModel"
# Architecture -> names of its head, if that is left out.
ARCHITECTURES = {
  f"Hubert{name.removeprefix('Wav2Vec2')}": wav2vec2.ARCHITECTURES[name]
  for name in (
    "Wav2Vec2Model",
    "Wav2Vec2ForCTC",
    "Wav2Vec2ForSequenceClassification",
  )
}
DEFAULTS = wav2vec2.DEFAULTS
RENAMED = wav2vec2.RENAMED
read = wav2vec2.read
