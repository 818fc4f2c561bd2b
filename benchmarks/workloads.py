"""What the training step is measured on: config, random batch, operations."""

import inspect
from typing import Any

import numpy as np

from d2v_jax import config as config_lib
from d2v_jax import optimizer as optimizer_lib
from d2v_jax.config import Spec
from d2v_jax.data.layout import BOS, EOS, UNK, num_frames
from d2v_jax.ema import Ema
from d2v_jax.modalities import MODALITIES
from d2v_jax.models.heads import RegressionHead
from d2v_jax.objectives.data2vec import Data2Vec

_SMALL = {"width": 64, "depth": 2, "num_heads": 4}
_KERNELS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
# Name -> config file, changes of its encoder.
MODELS: dict[str, tuple[str, Spec]] = {
  "vit_base": ("configs/vit_base.py", {}),
  "vit_small": ("configs/vit_base.py", {"width": 384, "num_heads": 6}),
  "vit_tiny": ("configs/vit_base.py", {"width": 192, "num_heads": 3}),
  "speech_base": ("configs/speech_base.py", {}),
  "speech_tiny": (
    "configs/speech_base.py",
    {**_SMALL, "conv_layers": tuple((32, *layer) for layer in _KERNELS)},
  ),
  "text_base": ("configs/text_base.py", {}),
  "text_tiny": ("configs/text_base.py", {**_SMALL, "vocab_size": 1000}),
}
RATES = (
  "dropout",
  "attention_dropout",
  "activation_dropout",
  "drop_path",
  "layer_drop",
)
# Changes of the encoder to time with --sweep.
_REMAT = {"ours, remat": {"remat": True}}
_DROPOUT = {"ours, dropout": {"dropout": 0.1, "attention_dropout": 0.1}}
SWEEP: dict[str, dict[str, Spec]] = {
  "vision": {
    **_REMAT,
    "ours, drop path": {"drop_path": 0.25},
    "ours, dropout": {"attention_dropout": 0.05},
  },
  "speech": {
    **_REMAT,
    **_DROPOUT,
    "ours, layer drop": {"layer_drop": 0.05},
  },
  "text": {**_REMAT, **_DROPOUT},
}


def make_config(
  model: str,
  path: str | None,
  batch_size: int,
  dtype: str,
  regularised: bool,
) -> dict[str, Any]:
  """The sections of an experiment's config that a step is made of.

  The rate and the teacher's decay are constant, and values at which two updates
  show in the loss; neither changes the time of a step. What the config leaves
  to the constructors' defaults is written out.

  Args:
    model: one of MODELS.
    path: config file; None takes the model's own.
    batch_size: B.
    dtype: of matrix products.
    regularised: keep dropout and drop path. Layer drop is left out always: the
      peer would skip a layer, ours computes it and drops the result.
  """
  default, changes = MODELS[model]
  spec = config_lib.plain(config_lib.load(path or default))
  encoder = {**spec["encoder"], **changes, "layer_drop": 0.0}
  if not regularised:
    encoder.update(dict.fromkeys(RATES, 0.0))
  row = MODALITIES[spec["modality"]]
  encoder = _complete(row.encoder, encoder)
  objective = _complete(Data2Vec, spec["objective"])
  objective["top_k"] = min(objective["top_k"], encoder["depth"])
  objective["head"] = _complete(RegressionHead, objective["head"])
  ema = {**objective["ema"], "start": 0.99, "end": 0.99}
  objective["ema"] = _complete(Ema, ema)
  return {
    "modality": spec["modality"],
    "batch_size": batch_size,
    "compute_dtype": dtype,
    "mask": spec["data"]["mask"],
    "encoder": encoder,
    "objective": objective,
    # PyTorch's AdamW has no other epsilon; it costs the same.
    "optimizer": _complete(optimizer_lib.adamw, spec["optimizer"])
    | {"uncorrected_eps": False},
    "schedule": {"peak": 1e-4, "total_steps": spec["total_steps"]},
  }


def _complete(constructor, spec):
  """The constructor's plain arguments, defaults included."""
  arguments = inspect.signature(constructor).parameters.values()
  given = ("compute_dtype", "remat")
  defaults = {
    p.name: p.default
    for p in arguments
    if p.default is not p.empty and p.name not in given
  }
  names = {p.name for p in arguments}
  return defaults | {k: v for k, v in spec.items() if k in names}


def make_batch(
  config: Spec, seconds: float, tokens: int
) -> dict[str, np.ndarray]:
  """Random inputs, and masks as a run draws them; no padding.

  Args:
    config: from `make_config`.
    seconds: of each utterance, at 16 kHz.
    tokens: of each text.

  Returns:
    `inputs` and `mask`, and what else the modality's mask gives.
  """
  rng = np.random.default_rng(0)
  make = {"vision": _image, "speech": _utterance, "text": _text}
  table = MODALITIES[config["modality"]].masks
  mask = config_lib.build(config["mask"], table, "config.data.mask")
  size = {"speech": round(16_000 * seconds), "text": tokens}
  examples = [
    make[config["modality"]](
      rng, mask, config["encoder"], size.get(config["modality"])
    )
    for _ in range(config["batch_size"])
  ]
  return {key: np.stack([e[key] for e in examples]) for key in examples[0]}


def _image(rng, mask, encoder, size):
  del size
  side = encoder["image_size"]
  grid = (side // encoder["patch_size"],) * 2
  return {
    "inputs": rng.standard_normal((side, side, 3), np.float32),
    "mask": mask(rng, grid).reshape(-1),
  }


def _utterance(rng, mask, encoder, size):
  frames = num_frames(size, encoder["conv_layers"])
  return {
    "inputs": rng.standard_normal(size, np.float32),
    "mask": mask(rng, frames, frames),
  }


def _text(rng, mask, encoder, size):
  words = rng.integers(UNK + 1, encoder["vocab_size"] - 1, size - 2)
  tokens = np.array([BOS, *words, EOS], np.int32)
  hidden, _, student = mask(rng, size, encoder["vocab_size"], tokens)
  example = {"inputs": tokens, "mask": hidden}
  return example | ({"student_inputs": student} if mask.changes_tokens else {})


def flops_per_example(config: Spec, batch: dict[str, np.ndarray]) -> float:
  """Matrix products of a step, two operations for each multiply-add.

  Forward once for the teacher, three times for the student: its backward pass
  is twice the forward one. The features of speech are computed once, for both.
  """
  encoder = config["encoder"]
  width, tokens = encoder["width"], batch["mask"].shape[1]
  embed, student_only = 0, tokens * _head_macs(config)
  if config["modality"] == "vision":
    embed = tokens * encoder["patch_size"] ** 2 * 3 * width
    tokens += 1
  if config["modality"] == "speech":
    student_only += _feature_macs(encoder, batch["inputs"].shape[1])
    depth = encoder["position_depth"]
    kernel = max(3, encoder["position_width"] // depth)
    groups = encoder["position_groups"]
    embed = depth * tokens * kernel * width**2 // groups
  block = tokens * 12 * width**2 + 2 * tokens**2 * width
  shared = embed + encoder["depth"] * block
  return 2.0 * (4 * shared + 3 * student_only)


def _head_macs(config):
  """Multiply-adds of the head for one token: D -> 2D -> ... -> D."""
  layers = config["objective"]["head"]["layers"]
  factor = layers if layers < 2 else 4 * layers - 4
  return factor * config["encoder"]["width"] ** 2


def _feature_macs(encoder, samples):
  """Multiply-adds of the convolutions and the projection after them."""
  total, length, before = 0, samples, 1
  for channels, kernel, stride in encoder["conv_layers"]:
    length = (length - kernel) // stride + 1
    total += length * kernel * before * channels
    before = channels
  return total + length * before * encoder["width"]
