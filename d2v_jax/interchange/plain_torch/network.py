"""Our models as the networks of this folder: their settings and weights.

They are data2vec 2.0's of images, and both versions' of speech and text, which
differ in nothing that they compute but for the settings.
"""

import importlib
import pathlib
import types
from typing import Any

import numpy as np

from d2v_jax.data.layout import PAD
from d2v_jax.interchange.model import channels
from d2v_jax.interchange.weights import (
  Arrays,
  InterchangeError,
  Rule,
  Tree,
  linear,
  norm,
  qkv,
  to_torch,
)
from d2v_jax.models.pooled_head import PooledHead
from d2v_jax.models.positions import alibi_slopes, sinusoidal_positions

# Modality -> class of its network.
CLASSES = {
  "vision": "Data2Vec2Vision",
  "speech": "Data2Vec2Speech",
  "text": "Data2Vec2Text",
}


def file(modality: str) -> pathlib.Path:
  """The file that has a modality's network."""
  return pathlib.Path(__file__).with_name(f"modeling_data2vec2_{modality}.py")


def build(modality: str, config: dict[str, Any], arrays: Arrays) -> Any:
  """The network as a torch.nn.Module, with its weights, in evaluation mode.

  Args:
    modality: a key of CLASSES.
    config: from `settings`.
    arrays: from `weights`.

  Raises:
    InterchangeError: torch is not installed.
  """
  try:
    import torch
  except ImportError as e:
    raise InterchangeError(
      "torch is not installed; pip install torch, or d2v_jax[parity]."
    ) from e
  module = importlib.import_module(f"{__package__}.{file(modality).stem}")
  with torch.random.fork_rng(devices=[]):
    network = getattr(module, CLASSES[modality])(
      types.SimpleNamespace(**config)
    )
  network.load_state_dict(
    {k: torch.from_numpy(v.copy()) for k, v in arrays.items()}
  )
  return network.eval()


def settings(
  modality: str, encoder: dict[str, Any], head: Any, params: Tree
) -> dict[str, Any]:
  """What the network's constructor reads, for config.json, too.

  Args:
    modality: a key of CLASSES.
    encoder: all arguments of ours.
    head: `LinearHead` or `PooledHead` of a fine-tuned model, or None.
    params: of the model.

  Raises:
    InterchangeError: the network cannot compute what a setting asks for.
  """
  if encoder.get("pre_norm"):
    raise _refuse("encoder.pre_norm", True, "its norms follow each branch")
  rounded = int if modality == "vision" else round
  width, heads = encoder["width"], encoder["num_heads"]
  slopes = alibi_slopes(heads).tolist() if encoder.get("alibi") else None
  return {
    "hidden_size": width,
    "num_hidden_layers": encoder["depth"],
    "num_prenet_layers": encoder.get("prenet_depth", 0),
    "num_attention_heads": heads,
    "intermediate_size": rounded(width * encoder["mlp_ratio"]),
    "layer_norm_eps": encoder["norm_eps"],
    "alibi_slopes": slopes,
    **_OF_MODALITY[modality](encoder, params),
    "head": None if head is None else _of_head(head),
  }


def weights(modality: str, encoder: dict[str, Any], params: Tree) -> Arrays:
  """State of the network.

  Args:
    modality: a key of CLASSES.
    encoder: all arguments of ours.
    params: of the encoder, and `head` if there is one; what acts in training
      only, such as a mask token, is left out.
  """
  params = {k: v for k, v in params.items() if k != "mask_token"}
  if encoder.get("positions") == "sinusoidal":
    table = sinusoidal_positions(
      encoder["max_tokens"] + PAD + 1, encoder["width"]
    )
    table[PAD] = 0.0
    params["position_embedding"] = table
  arrays = to_torch(params, rules(modality, encoder.get("patch_size", 1)))
  return {k: np.ascontiguousarray(v, np.float32) for k, v in arrays.items()}


def rules(modality: str, patch_size: int = 1) -> tuple[Rule, ...]:
  """The network's names <-> our paths."""
  return (
    *_RULES[modality],
    Rule(
      "patches.weight", "feature_encoder/proj/kernel", "patch", None, patch_size
    ),
    Rule("alibi_scale", "alibi_scale"),
    *norm("first_norm", "prenet_norm"),
    *norm("first_norm", "norm"),  # of version 1
    *_blocks("prenet"),
    *_blocks("blocks"),
    *norm("head.norm", "head/norm"),
    *linear("head.fc1", "head/fc1"),
    *linear("head.fc2", "head/fc2"),
  )


def _blocks(name: str) -> tuple[Rule, ...]:
  layer = f"{name}.{{layer}}."
  return (
    *qkv(*(f"{layer}{x}" for x in "qkv"), blocks=name),
    *linear(f"{layer}out", f"{name}/attention/out"),
    *linear(f"{layer}fc1", f"{name}/mlp/fc1"),
    *linear(f"{layer}fc2", f"{name}/mlp/fc2"),
    *norm(f"{layer}norm1", f"{name}/norm1"),
    *norm(f"{layer}norm2", f"{name}/norm2"),
  )


_RULES: dict[str, tuple[Rule, ...]] = {
  "vision": (
    Rule("cls_token", "cls_token"),
    Rule("patches.bias", "feature_encoder/proj/bias"),
  ),
  "speech": (
    *linear("convs.{i}.0", "feature_encoder/conv{i}", "conv"),
    *norm("convs.{i}.1", "feature_encoder/norm{i}"),
    *norm("projection_norm", "feature_projection/norm"),
    *linear("projection", "feature_projection/proj"),
    Rule("positions.{i}.weight", "positions/kernel{i}", "conv"),
    Rule("positions.{i}.bias", "positions/bias{i}"),
  ),
  "text": (
    Rule("embedding.weight", "feature_encoder/embedding"),
    Rule("position_embedding.weight", "position_embedding"),
    *norm("embedding_norm", "embedding_norm"),
  ),
}


def _of_images(encoder: dict[str, Any], params: Tree) -> dict[str, Any]:
  size = encoder["image_size"]
  return {
    "image_size": [size, size] if isinstance(size, int) else list(size),
    "patch_size": encoder["patch_size"],
    "num_channels": channels(encoder["patch_size"], params),
    "cls_token": encoder["cls_token"],
  }


def _of_speech(encoder: dict[str, Any], params: Tree) -> dict[str, Any]:
  if encoder["conv_norm"] != "layer":
    why = "each of its convolutions has a norm of the channels"
    raise _refuse("encoder.conv_norm", encoder["conv_norm"], why)
  depth, first = encoder["position_depth"], encoder["name"] == "speech"
  if first and depth == 1:
    raise _refuse("encoder.position_depth", 1, "it has no weight norm")
  return {
    "conv_layers": [list(layer) for layer in encoder["conv_layers"]],
    "conv_bias": encoder["conv_bias"],
    "position_depth": depth,
    "position_kernel": max(3, encoder["position_width"] // depth),
    "position_groups": encoder["position_groups"],
    # Those in front of which padded frames are 0. In version 1 they are so in
    # front of the first one always.
    "zeroed_positions": depth if encoder["isolate_padding"] else int(first),
  }


def _of_text(encoder: dict[str, Any], params: Tree) -> dict[str, Any]:
  if (types_of_tokens := encoder.get("token_types", 1)) > 1:
    raise _refuse("encoder.token_types", types_of_tokens, "it has one type")
  return {
    "vocab_size": encoder["vocab_size"],
    "max_tokens": encoder["max_tokens"],
    "pad_token_id": PAD,
    "scale_embedding": encoder["scale_embedding"],
    "embedding_norm": encoder["embedding_norm"],
  }


_OF_MODALITY = {"vision": _of_images, "speech": _of_speech, "text": _of_text}


def _of_head(head: Any) -> dict[str, Any]:
  if not isinstance(head, PooledHead):
    return {
      "pool": None,
      "num_outputs": head.num_outputs,
      "hidden": False,
      "norm": False,
      "norm_eps": 1e-6,
    }
  if head.pool == "attentive":
    why = "its heads take the mean or the first token"
    raise _refuse("objective.head.pool", head.pool, why)
  names = ("pool", "num_outputs", "hidden", "norm", "norm_eps")
  return {name: getattr(head, name) for name in names}


def _refuse(field: str, value: Any, why: str) -> InterchangeError:
  return InterchangeError(
    f"config.{field}={value!r} cannot be computed by the network in PyTorch: "
    f"{why}. Use --format=safetensors, which holds everything."
  )
