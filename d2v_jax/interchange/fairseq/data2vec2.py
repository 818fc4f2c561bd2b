"""What readers of data2vec 2.0's modalities share (fairseq's data2vec_multi).

Options that change what a network computes, or what it is trained for, are
refused if we have no like. Rates that act in training only, of which fairseq
has more than we do, are named in notes where they differ.
"""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from d2v_jax.interchange.fairseq.checkpoint import (
  Checkpoint,
  mlp_ratio,
  size,
  without,
)
from d2v_jax.interchange.options import Options
from d2v_jax.interchange.weights import Arrays

ENCODERS = "modality_encoders."
_BIAS = ".attn.qkv.bias"


@dataclasses.dataclass(frozen=True)
class Multi:
  """A model of data2vec 2.0 in a file.

  Attributes:
    checkpoint: the file, its arrays those of the network.
    prefix: how names in the modality's own part begin.
    c: options of the network.
    m: options of its modality.
    outer: options of a fine-tuned model around it, or None.
    whole: the file with all its arrays.
  """

  checkpoint: Checkpoint
  prefix: str
  c: Options
  m: Options
  outer: Options | None
  whole: Checkpoint

  @property
  def pretrained(self) -> bool:
    """Whether decoder and objective are wanted."""
    return self.outer is None and not self.checkpoint.encoder_only


def find(
  checkpoint: Checkpoint, name: str, around: tuple[str, str, str]
) -> Multi:
  """Finds the network in a file.

  Args:
    checkpoint: the file.
    name: of the modality, 'AUDIO', 'IMAGE' or 'TEXT'.
    around: of a fine-tuned model around it: how the names of the network's
      weights begin, its registered name, and its option that has the network's
      whole configuration.

  Raises:
    InterchangeError: it is another model, or has several modalities.
  """
  inside, registered, config = around
  pattern = re.compile(rf"(.*?){re.escape(ENCODERS)}(\w+)\.")
  found = [pattern.match(weight) for weight in checkpoint.arrays]
  places = {match.groups() for match in found if match}
  names = sorted({modality for _, modality in places})
  if names != [name]:
    raise checkpoint.error(
      f"it has {ENCODERS}* for {' and '.join(names) or 'no modality'}; only "
      "models of one modality, AUDIO, IMAGE or TEXT, can be imported"
    )
  starts = sorted({start for start, _ in places})
  if starts not in ([""], [inside]):
    raise checkpoint.error(
      f"names of its network begin with {', '.join(map(repr, starts))}; there "
      f"can be nothing, or {inside!r} of a fine-tuned {registered}"
    )
  outer, c, arrays = None, checkpoint.model, checkpoint.arrays
  if starts == [inside]:
    outer = checkpoint.model
    checkpoint.require_name(outer, registered)
    c = outer.section(config).inner("model")
    arrays = without(inside, arrays)
  checkpoint.require_name(c, "data2vec_multi")
  m = c.section("modalities").section(name.lower())
  if not m.values:
    raise checkpoint.error(
      f"{m.where} does not describe the modality; its configuration lacks what "
      "the weights do not tell"
    )
  inner = dataclasses.replace(checkpoint, arrays=biases_apart(arrays))
  return Multi(inner, f"{ENCODERS}{name}.", c, m, outer, checkpoint)


def biases_apart(arrays: Arrays) -> Arrays:
  """The bias of queries, keys and values as three, which it is with us."""
  apart = {}
  for name, value in arrays.items():
    if name.endswith(_BIAS) and value.ndim == 1:
      parts = zip("qkv", np.array_split(value, 3), strict=True)
      apart |= {f"{name}.{x}": part for x, part in parts}
    else:
      apart[name] = value
  return apart


def encoder(model: Multi) -> dict[str, Any]:
  """Arguments that the encoders of all modalities have.

  Raises:
    InterchangeError: the options describe another network.
  """
  c, m, checkpoint = model.c, model.m, model.checkpoint
  c.require("layer_norm_first", False)
  c.require("norm_affine", True)
  width = size(checkpoint, "blocks.0.norm1.weight", 0)
  if c.integer("embed_dim", 768, least=1) != width:
    raise c.error("embed_dim", f"its weights have a width of {width}")
  num_heads = c.integer("num_heads", 12, least=1)
  return {
    "width": width,
    "depth": c.integer("depth", 8, least=1, most=1000),
    "prenet_depth": m.integer("prenet_depth", 4, most=1000),
    "num_heads": num_heads,
    "mlp_ratio": mlp_ratio(checkpoint, "blocks.0.mlp.fc1.weight", width),
    "alibi": _alibi(model, num_heads),
  }


def _alibi(model, num_heads):
  m = model.m
  if not m.flag("use_alibi_encoder", False):
    return False
  wanted = {
    "learned_alibi": False,
    "learned_alibi_scale_per_head": True,
    "learned_alibi_scale_per_layer": False,
    "num_alibi_heads": num_heads,
  }
  if model.outer is None:
    wanted["learned_alibi_scale"] = True
  for name, value in wanted.items():
    m.require(name, value)
  return True


def check_norm_eps(model: Multi) -> None:
  """Raises unless all norms have the one epsilon of speech and text."""
  if model.c.number("norm_eps", 1e-6) != 1e-5:
    raise model.c.error(
      "norm_eps", "this library has 1e-05 in all norms of speech and text"
    )


def other_rates(
  section: Options, used: dict[str, tuple[float, float]]
) -> Iterator[str]:
  """Says which rates are others here.

  Args:
    section: the options.
    used: name -> (fairseq's default, the rate that is used here).
  """
  for name, (default, rate) in used.items():
    value = section.number(name, default)
    if value != rate:
      yield f"{name}={value} is {rate} here; it acts in training only"


def description(model: Multi) -> str:
  """What the model is."""
  if model.outer is None:
    return "data2vec_multi (data2vec 2.0) of fairseq, pretrained"
  return "data2vec_multi (data2vec 2.0) of fairseq, fine-tuned"
