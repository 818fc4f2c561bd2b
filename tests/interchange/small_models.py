"""Small random runs of every kind, as `Model`; each call makes its own."""

import copy

import jax
import jax.numpy as jnp
import numpy as np

from d2v_jax import config as config_lib
from d2v_jax.interchange.huggingface import text_tokenizer
from d2v_jax.interchange.model import Model
from d2v_jax.modalities import MODALITIES
from d2v_jax.objectives import OBJECTIVES

SIZES = dict(width=16, depth=2, num_heads=2)
ENCODERS = {
  "vision": dict(SIZES, name="vit", image_size=16, patch_size=4),
  "speech": dict(
    SIZES,
    name="speech",
    conv_layers=((8, 10, 5), (8, 3, 2)),
    position_depth=2,
    position_width=8,
    position_groups=2,
  ),
  "text": dict(SIZES, name="text", vocab_size=2000, max_tokens=12),
}
INPUTS = {
  "vision": jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32),
  "speech": jax.ShapeDtypeStruct((1, 200), jnp.float32),
  "text": jax.ShapeDtypeStruct((1, 4), jnp.int32),
}
TRACKED = {
  "vision": (),
  "speech": ("norm", "blocks"),
  "text": ("blocks",),
}
CHARACTERS = dict(name="characters", characters="|ABC'", max_length=7)
# Modality and kind -> (arguments of the encoder, config.objective).
KINDS = {
  ("vision", "pretrained"): ({}, None),
  ("vision", "absolute"): (dict(positions="absolute", mlp_ratio=2.7), None),
  ("vision", "sincos"): (dict(positions="sincos", layer_scale=0.0), None),
  ("vision", "no final norm"): (
    dict(positions="relative_layers", final_norm=False),
    None,
  ),
  ("vision", "classification"): (
    dict(final_norm=False, norm_eps=1e-6, drop_path=0.1),
    dict(name="classification", head=dict(num_outputs=3, norm=True)),
  ),
  ("vision", "multi_label"): (
    dict(final_norm=False, norm_eps=1e-6),
    dict(name="multi_label", head=dict(num_outputs=3, norm=True)),
  ),
  ("speech", "pretrained"): ({}, None),
  ("speech", "biases"): (dict(conv_bias=True, isolate_padding=False), None),
  ("speech", "ctc"): (
    dict(isolate_padding=False),
    dict(name="ctc", head=dict(num_outputs=6)),
  ),
  ("speech", "classification"): (
    dict(isolate_padding=False),
    dict(name="classification", head=dict(num_outputs=3)),
  ),
  ("text", "pretrained"): (dict(dropout=0.1), None),
  ("text", "fixed positions"): (
    dict(positions="sinusoidal", scale_embedding=True),
    None,
  ),
  ("text", "classification"): (
    {},
    dict(
      name="classification",
      head=dict(num_outputs=4, pool="first", hidden=True),
    ),
  ),
  ("text", "regression"): (
    {},
    dict(
      name="regression", head=dict(num_outputs=1, pool="first", hidden=True)
    ),
  ),
}
_SECOND_VISION = dict(name="visible_vit", prenet_depth=1)
_SECOND_SPEECH = dict(name="visible_speech", prenet_depth=1, alibi=True)
_SECOND_TEXT = dict(name="visible_text")
# Of data2vec 2.0.
SECOND = {
  ("vision", "second"): (_SECOND_VISION, None),
  ("vision", "second, biases, no CLS"): (
    _SECOND_VISION | dict(cls_token=False, alibi=True, mlp_ratio=2.7),
    None,
  ),
  ("vision", "second, classification"): (
    _SECOND_VISION | dict(alibi=True, norm_eps=1e-5, num_heads=4),
    dict(name="classification", head=dict(num_outputs=3, norm=True)),
  ),
  ("speech", "second"): (_SECOND_SPEECH, None),
  ("speech", "second, as released"): (
    _SECOND_SPEECH | dict(prenet_depth=0, isolate_padding=False),
    None,
  ),
  ("speech", "second, ctc"): (
    _SECOND_SPEECH | dict(position_depth=3, position_width=12),
    dict(name="ctc", head=dict(num_outputs=6)),
  ),
  ("speech", "second, classification"): (
    _SECOND_SPEECH | dict(alibi=False, conv_bias=True),
    dict(name="classification", head=dict(num_outputs=3)),
  ),
  ("speech", "second, several classes"): (
    _SECOND_SPEECH,
    dict(name="multi_label", head=dict(num_outputs=3, hidden=True)),
  ),
  ("text", "second"): (_SECOND_TEXT, None),
  ("text", "second, prenet"): (
    _SECOND_TEXT | dict(prenet_depth=2, alibi=True, embedding_norm=False),
    None,
  ),
  ("text", "second, classification"): (
    _SECOND_TEXT | dict(positions="sinusoidal", scale_embedding=True),
    dict(
      name="classification",
      head=dict(num_outputs=4, pool="first", hidden=True),
    ),
  ),
  ("text", "second, regression"): (
    _SECOND_TEXT,
    dict(name="regression", head=dict(num_outputs=1, norm=True)),
  ),
}


def make(modality: str, kind: str = "pretrained", **changes) -> Model:
  """A run of random parameters, each of its own value.

  `changes` are arguments of the encoder.
  """
  # A copy: what a test does to its model is no other test's.
  arguments, objective = copy.deepcopy((KINDS | SECOND)[modality, kind])
  encoder = copy.deepcopy(ENCODERS[modality]) | arguments | changes
  if objective is None and "visible" in encoder["name"]:
    objective = dict(
      name="data2vec2",
      targets=dict(top_k=2, output="ffn", layer_norms=("instance",)),
      decoder=dict(width=8, layers=2, groups=2),
      ema=dict(tracked=("blocks",)),
    )
  elif objective is None:
    objective = dict(
      name="data2vec",
      targets=dict(top_k=2, output="block", layer_norms=("layer",)),
      head=dict(layers=2),
      ema=dict(tracked=TRACKED[modality]),
    )
  network = config_lib.build(encoder, MODALITIES[modality].encoders, "encoder")
  built = config_lib.build(
    objective,
    OBJECTIVES,
    "objective",
    run={"grid": network.grid},
    encoder=network,
  )
  batch = {"inputs": INPUTS[modality]}
  shapes = jax.eval_shape(built.init, jax.random.key(0), batch)
  teacher_shapes = jax.eval_shape(built.init_teacher, shapes)
  rng = np.random.default_rng(0)
  data, files = {}, {}
  if objective["name"] == "ctc":
    data = {"labels": dict(CHARACTERS)}
  if objective["name"] == "multi_label":
    count = objective["head"]["num_outputs"]
    data = {"labels": dict(name="class_sets", num_classes=count)}
  if modality == "text":
    files = text_tokenizer.of_run({"name": "kjv"})
  return Model(
    modality=modality,
    encoder=encoder,
    objective=objective,
    params=_random(shapes, rng),
    teacher_params=_random(teacher_shapes, rng),
    data=data,
    files=files,
  )


def _random(shapes, rng):
  def draw(path, leaf):
    x = 0.2 * rng.standard_normal(leaf.shape, np.float32)
    return 1 + x if "scale" in path[-1].key else x

  return jax.tree_util.tree_map_with_path(draw, shapes)


def isolates(modality: str, kind: str) -> bool:
  """Whether padding changes nothing in such a model."""
  arguments, _ = (KINDS | SECOND)[modality, kind]
  return modality == "text" or arguments.get("isolate_padding", True)
