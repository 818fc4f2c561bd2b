"""BEiT of Hugging Face -> our ViT: Data2VecVision by another name.

Source: the behaviour of transformers' BeitModel and its heads.
"""

from d2v_jax.interchange.huggingface import vision, vit

MODEL_TYPE = "beit"
PREFIX = "beit"
BASE = "BeitModel"
# Architecture -> names of its head, if that is left out.
ARCHITECTURES = {
  name.replace("Data2VecVision", "Beit"): head
  for name, head in vision.ARCHITECTURES.items()
} | {"BeitForMaskedImageModeling": r"(lm_head|layernorm)\..*"}
DEFAULTS = vision.DEFAULTS
_BIAS = "relative_position_bias"
# Names in files -> those that newer versions of the library have in memory.
RENAMED = vit.RENAMED | {
  rf"attention\.attention\.{_BIAS}": _BIAS,
  rf"^encoder\.{_BIAS}": "shared_position_bias",
}
read = vision.read
