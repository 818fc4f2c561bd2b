"""ViT-MAE of Hugging Face -> our network for images: a ViT, all patches seen.

Its fixed positions become learned ones, and its decoder is left out.

Source: the behaviour of transformers' ViTMAEModel.
"""

from d2v_jax.interchange.huggingface import vit

MODEL_TYPE = "vit_mae"
PREFIX = "vit"
BASE = "ViTMAEModel"
# Architecture -> names of its head, if that is left out.
ARCHITECTURES = {BASE: None, "ViTMAEForPreTraining": r"decoder\..*"}
DEFAULTS = vit.DEFAULTS
RENAMED = vit.RENAMED
# Its own network hides patches at random, in evaluation, too.
COMPARED_AS = vit.BASE
read = vit.read
