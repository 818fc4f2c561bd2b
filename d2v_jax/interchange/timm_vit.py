"""Folders of timm's plain ViTs -> our network for images.

Such a folder has config.json, whose `architecture` is the name of a constructor
(vit_base_patch16_224, perhaps with a tag behind a dot), and the weights. Sizes
are those of the weights; what they don't tell, the name does.

Source: the behaviour of timm's VisionTransformer and its transforms.
"""

import math
import re
from typing import Any

from etils import epath
from PIL import Image

from d2v_jax.interchange.files import Folder
from d2v_jax.interchange.huggingface import image_processor
from d2v_jax.interchange.model import Foreign, Model, assemble
from d2v_jax.interchange.options import Options
from d2v_jax.interchange.weights import (
  Arrays,
  Rule,
  linear,
  norm,
)

CONFIG = "config.json"
_NAME = re.compile(r"(?:vit|deit)_([a-z]+)_patch(\d+)_\w+")
# Size in a constructor's name -> heads.
_HEADS = {"tiny": 3, "small": 6, "base": 12, "large": 16, "huge": 16}
_EPSILON = 1e-6  # of all norms
_POSITIONS = "pos_embed"
_PATCHES = "patch_embed.proj.weight"
_HIDDEN = "blocks.0.mlp.fc1.weight"
# Of weights that sizes are read from -> axes.
_AXES = {_PATCHES: 4, _POSITIONS: 3, _HIDDEN: 2}
_MOST_LAYERS = 1000
# Weights that make another network -> what it does.
_OTHERS = {
  r"fc_norm\..*": "has its last norm after the mean over tokens",
  r"norm_pre\..*": "has a norm before its first layer",
  r"patch_embed\.norm\..*": "has a norm of its patches",
  r"(dist_token|reg_token|head_dist\..*)": "has further tokens",
  r"blocks\.\d+\.attn\.[qk]?_?norm\..*": "has norms within its attention",
  r"blocks\.\d+\.mlp\.(fc1_[gx]|norm|w12|w3)\..*": "has gates in its MLPs",
}
_RESAMPLING = {
  "bicubic": Image.Resampling.BICUBIC,
  "bilinear": Image.Resampling.BILINEAR,
  "lanczos": Image.Resampling.LANCZOS,
  "nearest": Image.Resampling.NEAREST,
}
_KNOWN = {
  *("architecture", "num_classes", "num_features", "global_pool"),
  *("pretrained_cfg", "model_args", "label_names", "label_descriptions"),
}
# The weights tell these, or they act in training only.
_HARMLESS = {
  *("img_size", "num_classes", "init_values", "dynamic_img_size"),
  *("drop_rate", "drop_path_rate", "attn_drop_rate", "proj_drop_rate"),
}


def is_one(folder: epath.Path) -> bool:
  """Whether a folder with config.json is one of timm's, by that file."""
  values = Folder(folder).json(CONFIG)
  return "architecture" in values and "model_type" not in values


def read(folder: epath.PathLike) -> Model:
  """Reads a plain ViT: patches, a CLS token, learned positions, pre-norm.

  Its head is left out, and the bias of keys, which adds the same to all logits
  of a query. Layer scales come along.

  Args:
    folder: with config.json and the weights, as model.safetensors or
      pytorch_model.bin.

  Raises:
    InterchangeError: it is another network, is damaged, or has what we have
      not.
  """
  there = Folder(epath.Path(folder))
  config = Options(there.json(CONFIG), f"{there.path / CONFIG}: config")
  for fields, known in (
    (config, _KNOWN),
    (config.section("model_args"), _HARMLESS),
  ):
    for name in sorted(set(fields.values) - known):
      raise fields.error(name, "it is not known what this field does")
  # The mean over tokens is of what the last norm has made, but for fc_norm.
  config.require("global_pool", "token", "avg", "", None)
  size, patch = _named(config)
  arrays = there.weights()
  for name in sorted(arrays):
    for pattern, what in _OTHERS.items():
      if re.fullmatch(pattern, name):
        raise config.error("architecture", f"its network {what} ({name})")
  encoder, channels = _sizes(arrays, patch, config)
  mean_std, data, notes = _images(config, encoder["image_size"], channels)
  foreign = Foreign(
    modality="vision",
    encoder={**encoder, **mean_std, "num_heads": _HEADS[size]},
    arrays=_without_bias_of_keys(arrays),
    rules=_rules(patch),
    channels=channels,
    unused=(r"head\..*", r"pre_logits\..*"),
    absent=("mask_token",),
    data=data if channels == 3 else {"channels": channels, **data},
    description=f"{config['architecture']} of timm, {encoder['depth']} layers "
    f"of width {encoder['width']}",
    notes=(
      *notes,
      "it has no mask token: ours is zero until it is trained",
      *(["its head was left out"] if "head.weight" in arrays else []),
    ),
  )
  return assemble(foreign, str(there.path))


def _named(config: Options) -> tuple[str, int]:
  """Size and patch in the name of a constructor."""
  name, _, _ = config.text("architecture", "").partition(".")
  match = _NAME.fullmatch(name)
  if match is None or match[1] not in _HEADS:
    raise config.error(
      "architecture",
      f"only plain ViTs can be imported, vit_SIZE_patchP_PIXELS with a size of "
      f"{', '.join(_HEADS)}",
    )
  return match[1], int(match[2])


def _sizes(
  arrays: Arrays, patch: int, config: Options
) -> tuple[dict[str, Any], int]:
  """Arguments of our `vit` that the weights tell, and channels of images."""
  for name, axes in _AXES.items():
    if name not in arrays:
      raise config.error("architecture", f"the weights have no {name}")
    shape = arrays[name].shape
    if len(shape) != axes or 0 in shape:
      raise config.error("architecture", f"{name} has the shape {list(shape)}")
  kernel, table = arrays[_PATCHES], arrays[_POSITIONS]
  if kernel.shape[2:] != (patch, patch):
    raise config.error(
      "architecture", f"{_PATCHES} has the shape {list(kernel.shape)}"
    )
  grid = math.isqrt(table.shape[1] - 1)
  if grid == 0 or grid**2 + 1 != table.shape[1]:
    raise config.error(
      "architecture",
      f"{_POSITIONS} has the shape {list(table.shape)}; it must be of a CLS "
      "token and a square of patches",
    )
  layers = [re.match(r"blocks\.(\d{1,9})\.", name) for name in arrays]
  depth = 1 + max(int(m[1]) for m in layers if m)
  if depth > _MOST_LAYERS:
    raise config.error(
      "architecture", f"{depth} layers, more than {_MOST_LAYERS}"
    )
  width = table.shape[2]
  scales = arrays.get("blocks.0.ls1.gamma")
  encoder = dict(
    name="vit",
    image_size=grid * patch,
    patch_size=patch,
    width=width,
    depth=depth,
    mlp_ratio=len(arrays[_HIDDEN]) / width,
    norm_eps=_EPSILON,
    positions="absolute",
    final_norm=True,
    # What it begins at, in a network that has begun; 0: there is none.
    layer_scale=0.0 if scales is None else 1e-5,
    drop_path=0.0,
    attention_dropout=0.0,
  )
  return encoder, kernel.shape[1]


def _images(
  config: Options, side: int, channels: int
) -> image_processor.Prepared:
  """As `image_processor.read`, of what timm's transforms do in evaluation."""
  given = config.section("pretrained_cfg")
  if not given.values:
    return image_processor.unknown(f"pretrained_cfg in {CONFIG}", channels)
  expected = [channels, side, side]
  if given["input_size"] not in (None, expected):
    raise given.error("input_size", f"by the weights it would be {expected}")
  squash = given.choice(
    "crop_mode", "center", {"center": False, "squash": True}
  )
  part = given.number("crop_pct", 0.875, least=0.1, most=1)
  larger = math.floor(side / part)
  square = {"height": larger, "width": larger}
  filter_ = given.choice("interpolation", "bicubic", _RESAMPLING)
  half = {"mean": 0.5, "std": 0.5}
  given = Options({**half, **given.values}, given.where)
  processor = {
    "image_processor_type": "CLIPImageProcessor",
    "size": square if squash else {"shortest_edge": larger},
    "crop_size": side,
    "resample": int(filter_),
    "image_mean": list(given.numbers("mean", channels)),
    "image_std": list(given.numbers("std", channels, above=0.0)),
  }
  return image_processor.of(Options(processor, given.where), side, channels)


def _without_bias_of_keys(arrays: Arrays) -> Arrays:
  end, found = ".attn.qkv.bias", {}
  for name, array in arrays.items():
    if not name.endswith(end) or array.ndim != 1 or len(array) % 3:
      found[name] = array
      continue
    width, layer = len(array) // 3, name.removesuffix(end)
    found[f"{layer}.attn.q_bias"] = array[:width]
    found[f"{layer}.attn.v_bias"] = array[2 * width :]
  return found


def _rules(patch_size: int) -> tuple[Rule, ...]:
  layer, kernel = "blocks.{layer}.", "feature_encoder/proj/kernel"
  qkv = f"{layer}attn.qkv.weight"
  return (
    Rule("cls_token", "cls_token"),
    Rule(_POSITIONS, "position_embedding"),
    Rule(_PATCHES, kernel, "patch", patch_size=patch_size),
    Rule("patch_embed.proj.bias", "feature_encoder/proj/bias"),
    Rule(qkv, "blocks/attention/qkv/kernel", "linear"),
    Rule(f"{layer}attn.q_bias", "blocks/attention/q_bias"),
    Rule(f"{layer}attn.v_bias", "blocks/attention/v_bias"),
    *linear(f"{layer}attn.proj", "blocks/attention/out"),
    *linear(f"{layer}mlp.fc1", "blocks/mlp/fc1"),
    *linear(f"{layer}mlp.fc2", "blocks/mlp/fc2"),
    *norm(f"{layer}norm1", "blocks/norm1"),
    *norm(f"{layer}norm2", "blocks/norm2"),
    Rule(f"{layer}ls1.gamma", "blocks/gamma_attention"),
    Rule(f"{layer}ls2.gamma", "blocks/gamma_ffn"),
    *norm("norm", "norm"),
  )
