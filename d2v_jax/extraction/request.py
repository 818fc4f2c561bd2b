"""What is asked for, fitted to the run whose network is used."""

import argparse
import hashlib
import importlib.metadata
import json
import os
from typing import Any

import jax
from etils import epath

import d2v_jax
from d2v_jax import config as config_lib
from d2v_jax.data.layout import ImageInputs, Inputs, WaveformInputs
from d2v_jax.data.speech import decoding
from d2v_jax.extraction.compute import Wanted
from d2v_jax.extraction.examples import Examples
from d2v_jax.modalities import MODALITIES
from d2v_jax.pretrained import Pretrained
from d2v_jax.training.checkpoints import checkpoint_files, fingerprint
from d2v_jax.training.workdir import provenance

MAX_SECONDS = 60.0
ONLY_FOR = {
  "image_size": ("vision",),
  "resize_ratio": ("vision",),
  "range": ("vision",),
  "background": ("vision",),
  "max_pixels": ("vision",),
  "max_seconds": ("speech", "signal"),
  "max_tokens": ("text",),
  "cut": ("speech", "signal", "text"),
  "column": ("text",),
  "tokenizer": ("text",),
}

# What the features depend on beside the run, the network and the input.
_OPTIONS = (*ONLY_FOR, "split", "label", "label_separator", "compute_dtype")


def fitted_config(
  args: argparse.Namespace,
) -> tuple[dict[str, Any], dict[str, Any]]:
  """The run's config as it is used here.

  Args:
    args: of the command line.

  Returns:
    The config, and which arguments of its encoder are changed.

  Raises:
    ValueError: there is no such run, or an option is for another modality.
  """
  config = config_lib.plain(provenance.read(epath.Path(args.run))["config"])
  modality = config.get("modality")
  for option, modalities in ONLY_FOR.items():
    # 0 is a grey level.
    if getattr(args, option) not in (None, False) and (
      modality not in modalities
    ):
      raise ValueError(
        f"--{option} is for {', '.join(modalities)}, but {args.run} is of "
        f"{modality}; leave it out."
      )
  changes: dict[str, Any] = {}
  if args.image_size:
    changes["image_size"] = args.image_size
  if modality in ("speech", "signal"):
    # So that padding changes nothing, as if each recording came alone.
    changes["isolate_padding"] = True
  data = dict(config.get("data") or {})
  if args.resize_ratio:
    data["resize_ratio"] = _ratio(args.resize_ratio)
  if args.tokenizer:
    data["tokenizer"] = {"path": args.tokenizer}
  if args.range:
    data["range"] = _pair(args.range)
  for name in ("background", "max_pixels"):
    if getattr(args, name) is not None:
      data[name] = getattr(args, name)
  if args.max_seconds:
    # So that what is too long is an error, and what is allowed not left out.
    most = data.get("max_seconds", decoding.MAX_SECONDS)
    data["max_seconds"] = max(args.max_seconds, most)
  return {
    **config,
    "encoder": {**config["encoder"], **changes},
    "data": data,
  }, changes


def pads(config: config_lib.Spec) -> bool:
  """Whether padding leaves the features as they are.

  A group norm over time has padded samples in its statistics.
  """
  return config["encoder"].get("conv_norm") != "group"


def network_inputs(config: config_lib.Spec) -> Inputs:
  """What the network of a run takes."""
  row = MODALITIES[config["modality"]]
  return config_lib.build(config["encoder"], row.encoders, "encoder").inputs


def longest(args: argparse.Namespace, inputs: Inputs) -> int | None:
  """The most samples or tokens of an example; None for images.

  Raises:
    ValueError: the network takes fewer tokens.
  """
  if isinstance(inputs, ImageInputs):
    return None
  if isinstance(inputs, WaveformInputs):
    return round((args.max_seconds or MAX_SECONDS) * inputs.rate)
  most = inputs.max_tokens
  if args.max_tokens and args.max_tokens > most:
    raise ValueError(
      f"--max_tokens={args.max_tokens}: the network takes at most {most}."
    )
  return args.max_tokens or most


def describe(
  args: argparse.Namespace,
  model: Pretrained,
  examples: Examples,
  wanted: Wanted,
) -> dict[str, Any]:
  """All that the features depend on, but not how they are computed."""
  config = json.dumps(model.config, sort_keys=True).encode()
  weights = fingerprint.of(jax.tree.leaves(model.params)).tobytes()
  stamp = ""
  if os.path.isfile(args.input):
    stat = os.stat(args.input)
    stamp = f"{stat.st_size} {stat.st_mtime_ns}"
  return {
    "run": str(checkpoint_files.absolute(model.run)),
    "step": model.step,
    "modality": model.modality,
    "model": wanted.model,
    "layers": wanted.layers,
    "pool": wanted.pool,
    "config": hashlib.sha256(config).hexdigest()[:16],
    "weights": hashlib.sha256(weights).hexdigest()[:16],
    "options": {name: getattr(args, name) for name in _OPTIONS},
    "input": os.path.abspath(args.input),
    "examples": examples.digest(stamp),
  }


def versions() -> dict[str, str]:
  """Of what the numbers may depend on."""
  found = {p: importlib.metadata.version(p) for p in ("jax", "flax", "numpy")}
  return {"d2v_jax": d2v_jax.__version__, **found}


def _pair(text):
  try:
    low, high = map(float, text.split(","))
  except ValueError as e:
    raise ValueError(
      f"--range must be two numbers, such as 0,4095, got {text!r}."
    ) from e
  return low, high


def _ratio(text):
  if text == "none":
    return None
  try:
    return float(text)
  except ValueError as e:
    raise ValueError(
      f"--resize_ratio must be a number of at least 1, or none, got {text!r}."
    ) from e
