"""RoBERTa of Hugging Face -> our text encoder: Data2VecText by another name.

Source: the behaviour of transformers' RobertaModel and its heads.
"""

from d2v_jax.interchange.huggingface import text

MODEL_TYPE = "roberta"
PREFIX = "roberta"
BASE = "RobertaModel"
# Architecture -> names of its head, if that is left out.
ARCHITECTURES = {
  name.replace("Data2VecText", "Roberta"): head
  for name, head in text.ARCHITECTURES.items()
}
DEFAULTS = text.DEFAULTS
read = text.read
