"""Files like those of data2vec 2.0, small, with names of the real code."""

import numpy as np

from tests.goldens import recipe
from tests.interchange.fairseq import checkpoints, options2

# The widths of these models differ wherever they can: (name, shape, our path,
# layout), layouts as in `ours`.
_D, _HIDDEN = 24, 60
_DECODER_SIZES = {
  "image": dict(decoder_dim=16, decoder_groups=8),
  "audio": dict(decoder_dim=16, decoder_groups=4, decoder_kernel=5),
  "text": dict(decoder_dim=20, decoder_kernel=3),
}
UNEVEN = {
  "image": dict(input_size=8, patch_size=2, mask_length=2),
  "audio": dict(
    prenet_depth=1,
    feature_encoder_spec="[(16, 10, 5)] + [(20, 4, 2)]",
    conv_pos_depth=2,
    conv_pos_width=14,
    conv_pos_groups=4,
  ),
  "text": dict(max_source_positions=10),
}


def _blocks(prefix, path, layers):
  for i in range(layers):
    block = f"{prefix}blocks.{i}."
    for norm in ("norm1", "norm2"):
      yield f"{block}{norm}.weight", (_D,), f"{path}/{norm}/scale", i
      yield f"{block}{norm}.bias", (_D,), f"{path}/{norm}/bias", i
    for name, shape, ours in (
      ("attn.qkv", (3 * _D, _D), "attention/qkv"),
      ("attn.proj", (_D, _D), "attention/out"),
      ("mlp.fc1", (_HIDDEN, _D), "mlp/fc1"),
      ("mlp.fc2", (_D, _HIDDEN), "mlp/fc2"),
    ):
      yield f"{block}{name}.weight", shape, f"{path}/{ours}/kernel", i
      yield f"{block}{name}.bias", shape[:1], f"{path}/{ours}/bias", i


def uneven_names(kind):
  """(name, shape, our path, index in our stack of layers or None)."""
  e = f"modality_encoders.{kind.upper()}."
  tables = {
    "image": [
      (f"{e}extra_tokens", (1, 1, _D), "cls_token"),
      (f"{e}local_encoder.proj.weight", (_D, 3, 2, 2), "feature_encoder/proj"),
      (f"{e}local_encoder.proj.bias", (_D,), "feature_encoder/proj/bias"),
      (f"{e}decoder.blocks.0.0.weight", (16, 3, 3, 3), "decoder/conv0/kernel"),
      (f"{e}decoder.blocks.0.0.bias", (16,), "decoder/conv0/bias"),
      (f"{e}decoder.blocks.1.0.weight", (16, 2, 3, 3), "decoder/conv1/kernel"),
      (f"{e}decoder.blocks.1.0.bias", (16,), "decoder/conv1/bias"),
      (f"{e}decoder.proj.weight", (_D, 16), "decoder/proj1/kernel"),
      (f"{e}decoder.proj.bias", (_D,), "decoder/proj1/bias"),
    ],
    "audio": [
      (f"{e}alibi_scale", (1, 1, 4, 1, 1), "alibi_scale"),
      (
        f"{e}local_encoder.conv_layers.0.0.weight",
        (16, 1, 10),
        "feature_encoder/conv0/kernel",
      ),
      (
        f"{e}local_encoder.conv_layers.0.2.1.weight",
        (16,),
        "feature_encoder/norm0/scale",
      ),
      (
        f"{e}local_encoder.conv_layers.0.2.1.bias",
        (16,),
        "feature_encoder/norm0/bias",
      ),
      (
        f"{e}local_encoder.conv_layers.1.0.weight",
        (20, 16, 4),
        "feature_encoder/conv1/kernel",
      ),
      (
        f"{e}local_encoder.conv_layers.1.2.1.weight",
        (20,),
        "feature_encoder/norm1/scale",
      ),
      (
        f"{e}local_encoder.conv_layers.1.2.1.bias",
        (20,),
        "feature_encoder/norm1/bias",
      ),
      (f"{e}project_features.1.weight", (20,), "feature_projection/norm/scale"),
      (f"{e}project_features.1.bias", (20,), "feature_projection/norm/bias"),
      (
        f"{e}project_features.2.weight",
        (_D, 20),
        "feature_projection/proj/kernel",
      ),
      (f"{e}project_features.2.bias", (_D,), "feature_projection/proj/bias"),
      (
        f"{e}relative_positional_encoder.1.0.weight",
        (_D, 6, 7),
        "positions/kernel0",
      ),
      (f"{e}relative_positional_encoder.1.0.bias", (_D,), "positions/bias0"),
      (
        f"{e}relative_positional_encoder.2.0.weight",
        (_D, 6, 7),
        "positions/kernel1",
      ),
      (f"{e}relative_positional_encoder.2.0.bias", (_D,), "positions/bias1"),
      (f"{e}decoder.blocks.0.0.weight", (16, 6, 5), "decoder/conv0/kernel"),
      (f"{e}decoder.blocks.0.0.bias", (16,), "decoder/conv0/bias"),
      (f"{e}decoder.blocks.1.0.weight", (16, 4, 5), "decoder/conv1/kernel"),
      (f"{e}decoder.blocks.1.0.bias", (16,), "decoder/conv1/bias"),
      (f"{e}decoder.blocks.2.0.weight", (16, 4, 5), "decoder/conv2/kernel"),
      (f"{e}decoder.blocks.2.0.bias", (16,), "decoder/conv2/bias"),
      (f"{e}decoder.proj.weight", (_D, 16), "decoder/proj1/kernel"),
      (f"{e}decoder.proj.bias", (_D,), "decoder/proj1/bias"),
    ],
    "text": [
      (
        f"{e}local_encoder.embed_tokens.weight",
        (30, _D),
        "feature_encoder/embedding",
      ),
      (
        f"{e}local_encoder.embed_positions.weight",
        (12, _D),
        "position_embedding",
      ),
      (
        f"{e}local_encoder.layernorm_embedding.weight",
        (_D,),
        "embedding_norm/scale",
      ),
      (
        f"{e}local_encoder.layernorm_embedding.bias",
        (_D,),
        "embedding_norm/bias",
      ),
      (f"{e}decoder.blocks.0.0.weight", (20, _D, 3), "decoder/conv0/kernel"),
      (f"{e}decoder.blocks.0.0.bias", (20,), "decoder/conv0/bias"),
      (f"{e}decoder.blocks.1.0.weight", (20, 20, 3), "decoder/conv1/kernel"),
      (f"{e}decoder.blocks.1.0.bias", (20,), "decoder/conv1/bias"),
      (f"{e}decoder.proj.0.weight", (40, 20), "decoder/proj1/kernel"),
      (f"{e}decoder.proj.0.bias", (40,), "decoder/proj1/bias"),
      (f"{e}decoder.proj.2.weight", (_D, 40), "decoder/proj2/kernel"),
      (f"{e}decoder.proj.2.bias", (_D,), "decoder/proj2/bias"),
    ],
  }
  rows = [(*row, None) for row in tables[kind]]
  rows += _blocks("", "blocks", 2)
  if kind != "text":
    context = f"{e}context_encoder."
    rows += [
      (f"{context}norm.weight", (_D,), "prenet_norm/scale", None),
      (f"{context}norm.bias", (_D,), "prenet_norm/bias", None),
      *_blocks(context, "prenet", 1),
    ]
  return rows


def uneven(kind):
  """A file whose names and shapes are written out here, with random weights."""
  model = {
    name: checkpoints.random(*shape, seed=i)
    for i, (name, shape, _, _) in enumerate(uneven_names(kind))
  }
  modality = {**UNEVEN[kind]}
  if kind == "image":
    modality["embed_dim"] = _D
  decoder = options2.MODALITIES[kind]["decoder"] | _DECODER_SIZES[kind]
  state = _state(
    kind, model, {"embed_dim": _D}, modality | {"decoder": decoder}
  )
  return _with_average(kind, state, {k: v + 1 for k, v in model.items()})


def positions(side, width):
  """MAE's fixed positions of images, the column's half first: [1, N, D]."""
  rates = 10000.0 ** (-np.arange(width // 4) / (width / 4))
  table = np.zeros((side, side, width))
  for row in range(side):
    for column in range(side):
      table[row, column] = np.concatenate(
        [f(x * rates) for x in (column, row) for f in (np.sin, np.cos)]
      )
  return table.reshape(1, side * side, width).astype(np.float32)


def _state(kind, model, changes, modality):
  options = options2.MODALITIES[kind] | modality
  if kind == "image":
    name = "modality_encoders.IMAGE.fixed_positional_encoder.positions"
    # Of the weights, whatever the options say.
    token = model["modality_encoders.IMAGE.extra_tokens"]
    side = 4 if token.shape[-1] == _D else 14
    model = model | {name: positions(side, token.shape[-1])}
  return {
    "args": None,
    "cfg": {
      "_name": None,
      "common": {"fp16": True, "seed": 1},
      "task": options2.TASKS[kind],
      "dataset": {"batch_size": 3},
      "model": {
        **options2.MODEL,
        **options2.OPTIONS[kind],
        "supported_modality": kind.upper(),
        "modalities": {"_name": None, kind: options},
        **changes,
      },
    },
    "model": model,
    "optimizer_history": [{"num_updates": 400_000}],
  }


def _with_average(kind, state, teacher):
  """With the average under its own names, as far as each modality has one."""
  if kind == "text":
    average = {
      name.removeprefix("blocks."): value
      for name, value in teacher.items()
      if name.startswith("blocks.")
    }
  else:
    shared = (".decoder.",)
    if kind == "audio":
      shared += (".local_encoder.", ".project_features.")
    average = {
      k: v for k, v in teacher.items() if not any(part in k for part in shared)
    }
    fixed = "modality_encoders.IMAGE.fixed_positional_encoder.positions"
    if kind == "image":
      average[fixed] = state["model"][fixed]
  state["model"]["_ema"] = average
  return state


def pretrained(kind, modality=None, decoder=None, **changes):
  """One of the recipe's models; changed options of it, and of its parts."""
  student, teacher = checkpoints.weights(f"v2_{kind}")
  modality = modality or {}
  if decoder:
    modality = {
      **modality,
      "decoder": options2.MODALITIES[kind]["decoder"] | decoder,
    }
  state = _state(kind, student, changes, modality)
  return _with_average(kind, state, teacher)


def _around(kind, inside):
  """Weights of a fine-tuned model's network, and how that is configured."""
  state = pretrained(kind)
  model = {
    inside + name: value
    for name, value in state["model"].items()
    if name != "_ema" and ".decoder." not in name
  }
  return model, state["cfg"]


def ctc(outputs=32, **changes):
  """A model of speech fine-tuned by CTC."""
  model, config = _around("audio", "w2v_encoder.w2v_model.")
  model["w2v_encoder.proj.weight"] = checkpoints.random(outputs, 64)
  model["w2v_encoder.proj.bias"] = checkpoints.random(outputs, seed=1)
  outer = {**checkpoints.CTC, "w2v_args": config, **changes}
  task = {"_name": "audio_finetuning", "normalize": True}
  return {"cfg": {"task": task, "model": outer}, "model": model}


def image_classifier(**changes):
  """A model of images fine-tuned on five classes."""
  model, config = _around("image", "model.")
  model |= {
    "fc_norm.weight": 1 + checkpoints.random(64),
    "fc_norm.bias": checkpoints.random(64, seed=1),
    "head.weight": checkpoints.random(5, 64, seed=2),
    "head.bias": checkpoints.random(5, seed=3),
  }
  outer = {
    "_name": "mae_image_classification",
    "num_classes": 5,
    "mixup": 0.7,
    "cutmix": 1.0,
    "label_smoothing": 0.1,
    "drop_path_rate": 0.2,
    "encoder_dropout": 0.0,
    "post_mlp_drop": 0.0,
    "attention_dropout": 0.0,
    "use_fc_norm": True,
    "prediction_mode": "MEAN_POOLING",
    "pretrained_model_args": config,
    **changes,
  }
  return {"cfg": {"model": outer}, "model": model}


def glue(**changes):
  """A model of text fine-tuned on three classes."""
  model, config = _around("text", "model.")
  head = "classification_heads.sentence_classification_head."
  model |= {
    f"{head}dense.weight": checkpoints.random(64, 64),
    f"{head}dense.bias": checkpoints.random(64, seed=1),
    f"{head}out_proj.weight": checkpoints.random(3, 64, seed=2),
    f"{head}out_proj.bias": checkpoints.random(3, seed=3),
  }
  outer = {
    "_name": "data2vec_text_classification",
    "pooler_dropout": 0.0,
    "pooler_activation_fn": "tanh",
    "pretrained_model_args": config,
    **changes,
  }
  return {"cfg": {"model": outer}, "model": model}


def batch(kind):
  """The recipe's batch."""
  return recipe._MODELS[f"v2_{kind}"]()[2]
