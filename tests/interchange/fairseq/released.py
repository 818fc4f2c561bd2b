"""A file in the shape of each released one, in small.

Names and options are those of the released code and recipes; weights are those
of tests/goldens/recipe.json, so that many have the numbers stated there. Those
in `mixup` are what the release's commands of fine-tuning leave.
"""

import argparse

import numpy as np

from tests.interchange.fairseq import checkpoints as v1
from tests.interchange.fairseq import checkpoints2 as v2

# Sections that every configuration of fairseq has.
_SECTIONS = {
  "common": {"_name": None, "fp16": True, "seed": 1, "user_dir": "/x"},
  "common_eval": {"_name": None, "path": None, "model_overrides": "{}"},
  "distributed_training": {"_name": None, "distributed_world_size": 16},
  "optimization": {"_name": None, "lr": [0.0005], "clip_norm": 0.0},
  "checkpoint": {"_name": None, "save_dir": "checkpoints", "finetune_from": 0},
  "bmuf": {"_name": None, "block_lr": 1.0},
  "generation": {"_name": None, "softmax_batch": 9223372036854775807},
  "eval_lm": {"_name": None, "softmax_batch": 9223372036854775807},
  "interactive": {"_name": None, "buffer_size": 0, "input": "-"},
  "optimizer": {"_name": "adam", "adam_betas": "(0.9,0.98)", "lr": [0.0005]},
  "lr_scheduler": {"_name": "tri_stage", "phase_ratio": [0.03, 0.9, 0.07]},
  "scoring": None,
  "bpe": None,
  "tokenizer": None,
  "ema": {"_name": None, "store_ema": False, "ema_decay": 0.9999},
}
# Of the speech models, also options that the published code does not have.
_SPEECH = dict(
  fixup_init=False,
  no_ln=False,
  final_dim=0,
  attention_layer_norm=False,
  conv_feature_no_norm_on_1d=True,
  quantize_targets=True,
  logit_temp=0.1,
  mask_length=10,
  mask_prob=0.65,
  mask_selection="static",
  require_same_masks=True,
  mask_channel_prob=0.0,
  crop_seq_to_multiple=1,
  checkpoint_activations=False,
  diversity_weight=0.0,
  min_target_var=0.1,
  min_pred_var=0.01,
)
_HUGE_PATCH = 14


def _speech(**changes):
  # What was released averages the positions, too.
  state = v1.audio(**_SPEECH, ema_layers_only=False, **changes)
  state["cfg"]["task"] |= {"max_sample_size": 320_000, "data": "/x"}
  return state


def _transcribing(**changes):
  state = v1.ctc(
    w2v_path="/x/checkpoint.pt",
    no_pretrained_weights=False,
    normalize=True,
    apply_mask=True,
    mask_length=10,
    mask_channel_length=64,
    freeze_finetune_updates=10_000,
    **changes,
  )
  inner = _SECTIONS | v1.CTC["w2v_args"]
  inner["model"] = v1.AUDIO | _SPEECH | {"ema_layers_only": False}
  state["cfg"]["model"]["w2v_args"] = inner
  state["cfg"]["criterion"] = {"_name": "ctc", "zero_infinity": True}
  return state


def _images(rate, layers, **changes):
  return v1.vision(
    layer_scale_init_value=rate, target_layers=layers, var_w1=0.0, **changes
  )


def _image_classes(**changes):
  return v1.image_classifier(
    nb_classes=5, imagenet_default_mean_and_std=False, **changes
  )


def _huge(state):
  """Patches of 14 pixels, and no layers below the targets."""
  weights = [state["model"]]
  weights += [weights[0]["_ema"]] if "_ema" in weights[0] else []
  for arrays in weights:
    for name in [n for n in arrays if ".context_encoder.blocks." in n]:
      del arrays[name]
    for name in arrays:
      if name.endswith("local_encoder.proj.weight"):
        cut = arrays[name][..., :_HUGE_PATCH, :_HUGE_PATCH]
        arrays[name] = np.ascontiguousarray(cut)
      if name.endswith("fixed_positional_encoder.positions"):
        arrays[name] = v2.positions(16, arrays[name].shape[-1])
  return state


_LARGE_IMAGES = dict(
  modality=dict(mask_prob=0.75, mask_prob_adjust=0.1),
  clone_batch=16,
  average_top_k_layers=1,
  min_target_var=0,
  min_pred_var=0,
)
_HUGE_IMAGES = _LARGE_IMAGES | dict(
  modality=_LARGE_IMAGES["modality"] | dict(patch_size=14, prenet_depth=0),
  ema_end_decay=1.0,
  ema_anneal_end_step=300_000,
)


def _classes2(modality=None, **changes):
  state = v2.image_classifier(
    mixup_prob=0.9, mixup_mode="batch", linear_classifier=False, **changes
  )
  inner = state["cfg"]["model"]["pretrained_model_args"]
  inner |= {"criterion": None, "lr_scheduler": None, "optimizer": None}
  inner["model"]["modalities"]["image"] |= modality or {}
  return state


def _transcribing2():
  state = v2.ctc(w2v_path="/x/checkpoint.pt", normalize=True, mask_prob=0.5)
  state["cfg"]["model"]["w2v_args"] |= _SECTIONS
  return state


# Name of a released file -> its content in small, and the entry of recipe.json
# that has its numbers, None where there is none.
FILES = {
  # data2vec 1.0, speech.
  "audio_base_ls.pt": (_speech, "v1_audio"),
  "audio_base_ls_10m.pt": (lambda: _transcribing(layerdrop=0.1), None),
  "audio_base_ls_100h.pt": (_transcribing, None),
  "audio_base_ls_960h.pt": (lambda: _transcribing(mask_prob=0.5), None),
  "vox_pretrained.pt": (lambda: _speech(encoder_attention_heads=8), None),
  "vox_10m.pt": (lambda: _transcribing(mask_prob=0.65), None),
  "vox_100h.pt": (lambda: _transcribing(mask_channel_prob=0.5), None),
  "vox_960h.pt": (lambda: _transcribing(layerdrop=0.1), None),
  # data2vec 1.0, text and images.
  "nlp_base.pt": (v1.text, "v1_text_full_teacher_input"),
  "base_800/checkpoint-799.pth": (
    lambda: _images(1e-4, "[1, 2]"),
    "v1_vision",
  ),
  "base_800/mixup/checkpoint-99.pth": (_image_classes, None),
  "large_800/checkpoint-799.pth": (
    lambda: _images(1e-5, "[1,2]", attn_drop_rate=0.15, drop_path=0.2),
    "v1_vision",
  ),
  "large_1600/checkpoint-799.pth": (
    lambda: _images(1e-5, "[1,2]", ema_decay=0.9999, seed_model="/x"),
    "v1_vision",
  ),
  "large_1600/mixup/checkpoint-49.pth": (_image_classes, None),
  # data2vec 2.0.
  "base_imagenet.pt": (lambda: v2.pretrained("image"), "v2_image"),
  "base_imagenet_ft.pt": (_classes2, None),
  "large_imagenet.pt": (
    lambda: v2.pretrained("image", **_LARGE_IMAGES),
    None,
  ),
  "large_imagenet_ft.pt": (
    lambda: _classes2(layer_decay=0.75, drop_path_rate=0.2),
    None,
  ),
  "huge_imagenet.pt": (
    lambda: _huge(v2.pretrained("image", **_HUGE_IMAGES)),
    None,
  ),
  "huge_imagenet_ft.pt": (
    lambda: _huge(_classes2(dict(patch_size=14, prenet_depth=0))),
    None,
  ),
  "base_libri.pt": (lambda: v2.pretrained("audio"), "v2_audio"),
  "base_libri_960h.pt": (_transcribing2, None),
  "large_vox.pt": (
    lambda: v2.pretrained(
      "audio",
      modality=dict(mask_prob=0.55, mask_prob_adjust=0.1, prenet_layerdrop=0.0),
      clone_batch=12,
      layerdrop=0.0,
      ema_decay=0.9997,
      ema_end_decay=1.0,
    ),
    None,
  ),
  "large_vox_960h.pt": (_transcribing2, None),
  "data2vec2/nlp_base.pt": (lambda: v2.pretrained("text"), "v2_text"),
}


def fairseq_trained(state):
  """All that fairseq saves beside weights and options, weights in halves."""
  halves = {
    k: v if isinstance(v, dict) else v.astype(np.float16)
    for k, v in state["model"].items()
  }
  moments = {
    0: {
      "step": 400_000,
      "exp_avg": v1.random(7, 3),
      "exp_avg_sq": v1.random(7, 3, seed=1),
    }
  }
  return {
    **state,
    "args": None,
    "cfg": _SECTIONS | state["cfg"],
    "model": halves,
    "criterion": None,
    "optimizer_history": [
      {
        "criterion_name": "ModelCriterion",
        "optimizer_name": "FP16Optimizer",
        "lr_scheduler_state": {"best": None},
        "num_updates": 400_000,
      }
    ],
    "task_state": state.get("task_state", {}),
    "extra_state": {
      "metrics": {"default": [(0, "loss", "AverageMeter", {"val": 1.5})]},
      "previous_training_time": 3.5e5,
      "train_iterator": {"epoch": 9, "iterations_in_epoch": 0, "shuffle": True},
      "val_loss": np.float64(2.5),
    },
    "last_optimizer_state": {
      "state": moments,
      "param_groups": [{"lr": 0.0, "betas": (0.9, 0.98), "params": [0]}],
      "loss_scale": 32.0,
    },
  }


def vision_trained(state):
  """All that the vision release saves beside weights and options."""
  return {
    **state,
    "optimizer": {
      "state": {0: {"step": 500_000, "exp_avg": v1.random(7, 3)}},
      "param_groups": [{"lr": 1e-5, "params": [0], "weight_decay": 0.05}],
    },
    "scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 9},
  }


def wrapped(state, prefix):
  """Weights as what spreads a model over devices names them."""
  found = dict(state)
  for part in {"model", "model_ema"} & state.keys():
    found[part] = {prefix + name: x for name, x in state[part].items()}
  return found


def command_line(state):
  """The same options under `args`, flat, as old files have them."""
  state = dict(state)
  config = state.pop("cfg")
  model = {**config["model"], "arch": config["model"]["_name"]}
  for name in ("w2v_args", "pretrained_model_args"):
    if name in model:
      model[name] = _namespaces(model[name])
  flat = {"criterion": (config.get("criterion") or {}).get("_name")}
  for section in ("dataset", "task"):
    flat |= config.get(section) or {}
  flat |= {"task": (config.get("task") or {}).get("_name"), **model}
  del flat["_name"]
  return {**state, "args": argparse.Namespace(**flat)}


def _namespaces(value):
  if not isinstance(value, dict):
    return value
  return argparse.Namespace(**{k: _namespaces(v) for k, v in value.items()})
