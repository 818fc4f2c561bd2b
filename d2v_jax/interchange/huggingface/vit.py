"""ViT of Hugging Face -> our network for images; DINO's networks are such.

Source: the behaviour of transformers' ViTModel and its heads.
"""

from typing import Any

from d2v_jax.interchange.huggingface import image_processor, names
from d2v_jax.interchange.huggingface.parts import Incoming, sizes
from d2v_jax.interchange.huggingface.vision import OF_PATCHES, patches_and_image
from d2v_jax.interchange.model import Foreign
from d2v_jax.interchange.options import Options

MODEL_TYPE = "vit"
PREFIX = "vit"
BASE = "ViTModel"
# Architecture -> names of its head, if that is left out.
ARCHITECTURES = {
  BASE: None,
  "ViTForImageClassification": r"classifier\..*",
  "ViTForMaskedImageModeling": r"decoder\..*",
}
# Of the fields that may have other values.
DEFAULTS = OF_PATCHES | {"qkv_bias": True}
# Names in files -> those that newer versions of the library have in memory.
RENAMED = {
  r"encoder\.layer\.(\d+)\.": r"layers.\1.",
  r"attention\.attention\.query": "attention.q_proj",
  r"attention\.attention\.key": "attention.k_proj",
  r"attention\.attention\.value": "attention.v_proj",
  r"attention\.output\.dense": "attention.o_proj",
  r"intermediate\.dense": "mlp.fc1",
  r"(?<!attention\.)output\.dense": "mlp.fc2",
}


def read(theirs: Incoming) -> Foreign:
  """Reads a ViT.

  The bias of keys is left out: it adds the same to all logits of a query, which
  the softmax takes out again.

  Raises:
    InterchangeError: a field changes the numbers in a way that we have not.
  """
  config = theirs.config
  config.require("hidden_act", "gelu")
  config.require("qkv_bias", True)
  encoder = _encoder(config)
  images = config.integer("num_channels", least=1, most=64)
  mean_std, data, notes = image_processor.read(
    theirs.folder, encoder["image_size"], images
  )
  masked = "embeddings.mask_token" in theirs.arrays
  if not masked:
    notes.append("it has no mask token: ours is zero until it is trained")
  if config.rate("hidden_dropout_prob"):
    notes.append("hidden_dropout_prob acts in training only, and not here")
  if any(name.startswith("pooler.") for name in theirs.arrays):
    notes.append("the pooler was left out: it is no part of the encoder")
  return Foreign(
    modality="vision",
    encoder={**encoder, **mean_std},
    arrays=theirs.arrays,
    rules=names.vision(encoder["patch_size"]),
    channels=images,
    unused=(r"pooler\..*", r".*\.attention\.key\.bias"),
    absent=() if masked else ("mask_token",),
    data=data if images == 3 else {"channels": images, **data},
    notes=tuple(notes),
  )


def _encoder(config: Options) -> dict[str, Any]:
  return (
    sizes(config)
    | patches_and_image(config)
    | dict(
      name="vit",
      positions="absolute",
      final_norm=True,
      layer_scale=0.0,
      drop_path=0.0,
      attention_dropout=config.rate("attention_probs_dropout_prob"),
    )
  )
