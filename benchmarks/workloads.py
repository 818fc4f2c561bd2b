"""What the training step is measured on: a config and a random batch."""

import dataclasses
import inspect
import math
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

from d2v_jax import config as config_lib
from d2v_jax import config_file
from d2v_jax.config import Spec
from d2v_jax.data.layout import BOS, EOS, UNK
from d2v_jax.modalities import MODALITIES
from d2v_jax.objectives import OBJECTIVES
from d2v_jax.training import optimizer as optimizer_lib

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Model:
  """A config file, and changes of its encoder and of its decoder."""

  path: str
  encoder: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  decoder: Mapping[str, Any] = dataclasses.field(default_factory=dict)


_SMALL = {"width": 64, "depth": 2, "num_heads": 4}
_KERNELS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
_CONVS = {"conv_layers": tuple((32, *layer) for layer in _KERNELS)}
_VIT_TINY = {"width": 192, "num_heads": 3}
_VOCABULARY = {"vocab_size": 1000}
_DECODER = {"width": 64}
# Of two names, the one with _VERSION_2 is of the same size as the other.
_VERSION_2 = "_d2v2"
MODELS: dict[str, Model] = {
  "vit_base": Model("configs/vit_base.py"),
  "vit_base_d2v2": Model("configs/vit_base_d2v2.py"),
  "vit_small": Model("configs/vit_base.py", {"width": 384, "num_heads": 6}),
  "vit_tiny": Model("configs/vit_base.py", _VIT_TINY),
  "vit_tiny_d2v2": Model("configs/vit_base_d2v2.py", _VIT_TINY, {"width": 192}),
  "speech_base": Model("configs/speech_base.py"),
  "speech_base_d2v2": Model("configs/speech_base_d2v2.py"),
  "speech_tiny": Model("configs/speech_base.py", _SMALL | _CONVS),
  "speech_tiny_d2v2": Model(
    "configs/speech_base_d2v2.py", _SMALL | _CONVS, _DECODER
  ),
  "text_base": Model("configs/text_base.py"),
  "text_base_d2v2": Model("configs/text_base_d2v2.py"),
  "text_tiny": Model("configs/text_base.py", _SMALL | _VOCABULARY),
  "text_tiny_d2v2": Model(
    "configs/text_base_d2v2.py", _SMALL | _VOCABULARY, _DECODER
  ),
}
RATES = (
  "input_dropout",
  "dropout",
  "attention_dropout",
  "activation_dropout",
  "drop_path",
  "layer_drop",
)
# Changes of the encoder to time with --sweep.
_REMAT = {"ours, remat": {"remat": "full"}}
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

  Raises:
    ValueError: for a config of another objective than data2vec's two.
  """
  changes = MODELS[model]
  path = path or changes.path
  spec = config_lib.plain(config_file.load(path))
  objective = spec["objective"]
  name = objective["name"]
  if name not in ("data2vec", "data2vec2"):
    raise ValueError(
      f"train_step: {path} has the objective {name!r}, which is not measured "
      "here; give a config with one of: data2vec, data2vec2."
    )
  encoder = {**spec["encoder"], **changes.encoder, "layer_drop": 0.0}
  objective["ema"].update(start=0.99, end=0.99)
  decoder = objective.get("decoder", {})
  decoder.update(changes.decoder)
  if not regularised:
    for section in (encoder, decoder):
      section.update(dict.fromkeys(RATES, 0.0))
  row = MODALITIES[spec["modality"]]
  network = encoder["name"]
  encoder = _complete(row.encoders[network], encoder)
  for part, constructor in _parts(OBJECTIVES[name]).items():
    objective[part] = _complete(constructor, objective[part])
  objective = _complete(OBJECTIVES[name], objective)
  targets = objective["targets"]
  targets["top_k"] = min(targets["top_k"], encoder["depth"])
  return {
    "modality": spec["modality"],
    "batch_size": batch_size,
    "compute_dtype": dtype,
    "mask": spec["data"]["mask"],
    "encoder": {"name": network, **encoder},
    "objective": {"name": name, **objective},
    # PyTorch's AdamW has no other epsilon; it costs the same.
    "optimizer": _complete(optimizer_lib.adamw, spec["optimizer"])
    | {"uncorrected_eps": False},
    "schedule": {"peak": 1e-4, "total_steps": spec["total_steps"]},
  }


def _parts(objective):
  """What an objective is made of: field -> dataclass."""
  kinds = typing.get_type_hints(objective)
  del kinds["encoder"]
  return {k: v for k, v in kinds.items() if dataclasses.is_dataclass(v)}


def _complete(constructor, spec):
  """The constructor's plain arguments, defaults included."""
  arguments = inspect.signature(constructor).parameters.values()
  given = ("compute_dtype", "grid", "remat", "sub_trees")
  defaults = {
    p.name: p.default
    for p in arguments
    if p.default is not p.empty and p.name not in given
  }
  names = {p.name for p in arguments}
  return defaults | {k: v for k, v in spec.items() if k in names}


def make_batch(config: Spec, seconds: float, tokens: int) -> Batch:
  """Random inputs, and masks as a run draws them; no padding.

  Args:
    config: from `make_config`.
    seconds: of each utterance, at 16 kHz.
    tokens: of each text.

  Returns:
    `inputs` [B, ...] and `mask` bool [B, N]; of data2vec 2.0 `mask` [B, M, N]
    and `keep_ids` int32 [B, M, V]; and what else the modality's mask gives.
  """
  rng = np.random.default_rng(0)
  encoder, row = config["encoder"], MODALITIES[config["modality"]]
  make = {"vision": _image, "speech": _utterance, "text": _text}
  size = {"speech": round(16_000 * seconds), "text": tokens}
  network = config_lib.build(encoder, row.encoders, "config.encoder")
  dataset = config_lib.call(
    row.data,
    {"mask": config["mask"]},
    "config.data",
    run={"inputs": network.inputs},
  )
  transform = dataset.transform()
  examples = []
  for i in range(config["batch_size"]):
    raw = make[config["modality"]](rng, encoder, size.get(config["modality"]))
    examples.append(transform({**raw, "requested": i, "record": i}, rng))
  batch = {
    name: np.stack([example[name] for example in examples])
    for name in ("inputs", "mask", "keep_ids", "student_inputs")
    if name in examples[0]
  }
  if config["modality"] == "vision":
    # The peer takes what is normalised already.
    shape = batch["inputs"].shape
    batch["inputs"] = rng.standard_normal(shape, np.float32)
  return batch


def _image(rng, encoder, size):
  del size
  shape = (encoder["image_size"],) * 2
  return {"image": rng.integers(0, 256, (*shape, 3), np.uint8)}


def _utterance(rng, encoder, size):
  del encoder
  return {"samples": rng.standard_normal(size, np.float32), "length": size}


def _text(rng, encoder, size):
  words = rng.integers(UNK + 1, encoder["vocab_size"] - 1, size - 2)
  return {"tokens": np.array([BOS, *words, EOS], np.int32), "length": size}


def count_masks(batch: Batch) -> int:
  """Masked versions in a batch: B, or B * M of data2vec 2.0."""
  return math.prod(batch["mask"].shape[:-1])


def one_mask_each(batch: Batch) -> Batch:
  """The same masked versions, each with a copy of its example.

  Args:
    batch: of data2vec 2.0, with M masks of each of B examples.

  Returns:
    A batch with one mask of each of B * M examples, in the same order.
  """
  num_masks = batch["mask"].shape[1]
  apart = {}
  for name, value in batch.items():
    if name in ("mask", "keep_ids"):
      apart[name] = value.reshape(-1, 1, value.shape[-1])
    else:
      apart[name] = np.repeat(value, num_masks, axis=0)
  return apart


def without_noise(config: Spec) -> dict[str, Any]:
  """A config of data2vec 2.0 whose decoder has zeros in place of noise."""
  objective = config["objective"]
  decoder = {**objective["decoder"], "noise_std": 0.0}
  return {**config, "objective": {**objective, "decoder": decoder}}


def is_version_2(config: Spec) -> bool:
  """Whether a config of `make_config` is one of data2vec 2.0."""
  return config["objective"]["name"] == "data2vec2"


def version_1(model: str) -> str:
  """Name of the model of version 1 that is of the same size."""
  return model.removesuffix(_VERSION_2)
