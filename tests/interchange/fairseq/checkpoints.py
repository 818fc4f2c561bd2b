"""Files like the released ones, small, with names of the real code.

Weights and the numbers that they give are those of tests/goldens/recipe.json.
"""

import argparse
import functools
import re

import numpy as np

from tests.goldens import recipe
from tests.interchange.torch_file import torch_files

LAYERS = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]"
AUDIO = {
  "_name": "data2vec_audio",
  "extractor_mode": "layer_norm",
  "encoder_layers": 3,
  "encoder_embed_dim": 32,
  "encoder_ffn_embed_dim": 64,
  "encoder_attention_heads": 4,
  "activation_fn": "gelu",
  "dropout": 0.1,
  "attention_dropout": 0.1,
  "activation_dropout": 0.0,
  "encoder_layerdrop": 0.05,
  "dropout_input": 0.0,
  "layer_norm_first": False,
  "conv_feature_layers": LAYERS,
  "conv_bias": False,
  "quantize_targets": True,
  "feature_grad_mult": 1.0,
  "conv_pos": 95,
  "conv_pos_groups": 16,
  "pos_conv_depth": 5,
  "loss_beta": 0.0,
  "loss_scale": None,
  "average_top_k_layers": 2,
  "instance_norm_target_layer": True,
  "ema_decay": 0.999,
  "ema_end_decay": 0.9999,
  "ema_anneal_end_step": 30_000,
  "ema_transformer_only": True,
  "ema_layers_only": True,
}
CTC = {
  "_name": "wav2vec_ctc",
  "dropout": 0.0,
  "attention_dropout": 0.0,
  "activation_dropout": 0.1,
  "final_dropout": 0.2,
  "layerdrop": 0.05,
  "feature_grad_mult": 0.0,
  "blank_weight": 0.0,
  "w2v_args": {
    "_name": None,
    "model": AUDIO,
    "task": {"_name": "audio_pretraining", "normalize": True},
  },
}
TEXT = {
  "_name": "data2vec_text",
  "max_positions": 512,
  "head_layers": 2,
  "transformer": {
    "activation_fn": "gelu",
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.0,
    "no_scale_embedding": True,
    "layernorm_embedding": True,
    "max_source_positions": 512,
    "encoder": {
      "embed_dim": 64,
      "ffn_embed_dim": 128,
      "layers": 2,
      "attention_heads": 4,
      "normalize_before": False,
      "learned_pos": True,
      "layerdrop": 0,
    },
  },
  "loss_beta": 4.0,
  "loss_scale": 1.0,
  "average_top_k_layers": 2,
  "layer_norm_target_layer": True,
  "ema_decay": 0.999,
  "ema_end_decay": 0.9999,
  "ema_anneal_end_step": 300_000,
  "ema_transformer_layers_only": True,
}
VISION = {
  "model": "beit_base_patch16_224",
  "input_size": 224,
  "rel_pos_bias": True,
  "abs_pos_emb": False,
  "layer_scale_init_value": 1e-4,
  "drop_path": 0.25,
  "attn_drop_rate": 0.05,
  "imagenet_default_mean_and_std": True,
  "target_layers": "[1, 2]",
  "layer_results": "end",
  "l2_loss": False,
  "l1_beta": 2.0,
  "loss_scale": -1,
  "var_w0": 0.0,
  "no_target_layer_norm_last": False,
  "target_batch_norm": False,
  "target_instance_norm": False,
  "post_target_instance_norm": False,
  "post_target_layer_norm": True,
  "ema_decay_init": 0.999,
  "ema_decay": 0.9998,
  "ema_start_at": 0,
}


def weights(name):
  """A recipe's student and teacher."""
  return tuple(dict(arrays) for arrays in _weights(name))


@functools.cache
def _weights(name):
  student, teacher = {}, {}
  for t, (parameter, shape) in enumerate(
    recipe._recipes()[name]["param_order"]
  ):
    noise = 0.05 * recipe._normal(shape, 1000 + t)
    student[parameter] = recipe._base(parameter) + noise
    if re.search(r"embed_(tokens|positions)", parameter):
      student[parameter][1] = 0.0
    teacher[parameter] = student[parameter] + 0.01 * recipe._normal(
      shape, 5000 + t
    )
  return student, teacher


def random(*shape, seed=0):
  values = np.random.default_rng(seed).normal(size=shape)
  return (0.1 * values).astype(np.float32)


def audio(**changes):
  """audio_base_ls.pt in small."""
  student, teacher = weights("v1_audio")
  average = {
    name.removeprefix("encoder."): teacher[name]
    for name in student
    if name.startswith("encoder.")
  }
  for name in average:
    if name.startswith("pos_conv."):
      average[name] = student[f"encoder.{name}"]
  return {
    "args": None,
    "cfg": {
      "_name": None,
      "common": {"fp16": True, "seed": 1},
      "task": {"_name": "audio_pretraining", "normalize": True},
      "model": {**AUDIO, **changes},
      "optimization": {"lr": [0.0005]},
    },
    "model": {**student, "_ema": average},
    "optimizer_history": [{"num_updates": 400_000}],
    "extra_state": {"epoch": 1, "best": 1.5},
  }


def ctc(outputs=32, symbols=None, **changes):
  """audio_base_ls_100h.pt in small."""
  student, _ = weights("v1_audio")
  model = {
    f"w2v_encoder.w2v_model.{name}": value
    for name, value in student.items()
    if not name.startswith("final_proj.")
  }
  model["w2v_encoder.proj.weight"] = random(outputs, 32)
  model["w2v_encoder.proj.bias"] = random(outputs, seed=1)
  kept = {}
  if symbols is not None:
    everything = ["<s>", "<pad>", "</s>", "<unk>", *symbols]
    kept["target_dictionary"] = torch_files.Object(
      "fairseq.data.dictionary",
      "Dictionary",
      {
        "symbols": everything,
        "count": [1] * len(everything),
        "indices": {s: i for i, s in enumerate(everything)},
        "nspecial": 4,
      },
    )
  return {
    "cfg": {
      "task": {"_name": "audio_finetuning", "normalize": True, "labels": "ltr"},
      "model": {**CTC, **changes},
    },
    "model": model,
    "task_state": kept,
  }


def text(**changes):
  """nlp_base.pt in small."""
  student, teacher = weights("v1_text_full_teacher_input")
  average = {
    name.removeprefix("sentence_encoder."): value
    for name, value in teacher.items()
    if name.startswith("sentence_encoder.")
  }
  average["version"] = np.array([3.0], np.float32)
  model = {f"encoder.{name}": value for name, value in student.items()}
  model["encoder.sentence_encoder.version"] = np.array([3.0], np.float32)
  return {
    "cfg": {"task": {"_name": "masked_lm"}, "model": {**TEXT, **changes}},
    "model": {**model, "encoder._ema": average},
  }


def glue(classes=3, regression=False):
  """A fine-tuned text model; as fairseq leaves it, with what it began from."""
  state = text()
  head = "classification_heads.sentence_classification_head."
  state["model"] |= {
    f"{head}dense.weight": random(64, 64),
    f"{head}dense.bias": random(64, seed=1),
    f"{head}out_proj.weight": random(classes, 64, seed=2),
    f"{head}out_proj.bias": random(classes, seed=3),
  }
  state["cfg"]["criterion"] = {
    "_name": "sentence_prediction",
    "regression_target": regression,
  }
  return state


def vision(**changes):
  """checkpoint-799.pth of the vision release in small."""
  student, teacher = weights("v1_vision")
  index = np.zeros((197, 197), np.int64)
  buffers = {"rel_pos_bias.relative_position_index": index}
  return {
    "model": {**student, **buffers},
    "model_ema": {**teacher, **buffers},
    "optimizer": {"state": {0: {"step": 1}}, "param_groups": []},
    "epoch": 799,
    "scaler": {"scale": 65536.0},
    "args": argparse.Namespace(**{**VISION, **changes}),
  }


def image_classifier(classes=5, **changes):
  """A fine-tuned vision model with a table of its own in each layer."""
  student, _ = weights("v1_vision")
  left_out = ("lm_head.", "norm.", "mask_token", "rel_pos_bias.")
  model = {k: v for k, v in student.items() if not k.startswith(left_out)}
  for i in range(3):
    name = f"blocks.{i}.attn.relative_position_"
    model[f"{name}bias_table"] = random(732, 4, seed=i)
    model[f"{name}index"] = np.zeros((197, 197), np.int64)
  model |= {
    "fc_norm.weight": 1 + random(48),
    "fc_norm.bias": random(48, seed=1),
    "head.weight": random(classes, 48, seed=2),
    "head.bias": random(classes, seed=3),
  }
  args = {**VISION, "smoothing": 0.1, "nb_classes": classes, **changes}
  return {"model": model, "epoch": 99, "args": argparse.Namespace(**args)}
