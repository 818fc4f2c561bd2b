"""What fairseq's data2vec models of speech and text have in common."""

import dataclasses

from d2v_jax.objectives.data2vec import Data2Vec
from d2v_jax.objectives.ema import Ema
from d2v_jax.objectives.targets import Targets
from tests.goldens.options import Options
from tests.goldens.torch_names import Names, Rule


@dataclasses.dataclass(frozen=True)
class Case:
  """A model case in our terms.

  Attributes:
    objective: what the case trains.
    names: PyTorch names <-> our parameter tree.
    batch: arrays of one step (keys without 'step{k}/'), dtype -> our batch.
  """

  objective: Data2Vec
  names: Names
  batch: callable


def layer_rules(prefix: str) -> tuple[Rule, ...]:
  """Rules of a Transformer's layers, whose names begin with a pattern."""
  layer = prefix + r"layers\.(?P<layer>\d+)\."
  attention = layer + r"self_attn\."
  rules = [
    Rule(layer + r"self_attn_layer_norm\.weight", "blocks/norm1/scale"),
    Rule(layer + r"self_attn_layer_norm\.bias", "blocks/norm1/bias"),
    Rule(layer + r"final_layer_norm\.weight", "blocks/norm2/scale"),
    Rule(layer + r"final_layer_norm\.bias", "blocks/norm2/bias"),
    *linear(attention + r"out_proj", "blocks/attention/out"),
    *linear(layer + r"(?P<fc>fc[12])", "blocks/mlp/{fc}"),
  ]
  for part, name in enumerate("qkv"):
    projection = f"{attention}{name}_proj"
    rules += [
      Rule(
        projection + r"\.weight", "blocks/attention/qkv/kernel", "linear", part
      ),
      Rule(projection + r"\.bias", f"blocks/attention/{name}_bias"),
    ]
  return tuple(rules)


def linear(pattern: str, path: str) -> tuple[Rule, Rule]:
  """Rules of a linear map's weight and bias."""
  return (
    Rule(pattern + r"\.weight", f"{path}/kernel", "linear"),
    Rule(pattern + r"\.bias", f"{path}/bias"),
  )


def norm(pattern: str, path: str) -> tuple[Rule, Rule]:
  """Rules of a norm's weight and bias."""
  return (
    Rule(pattern + r"\.weight", f"{path}/scale"),
    Rule(pattern + r"\.bias", f"{path}/bias"),
  )


def objective(
  c: Options, encoder, head, tracked: tuple[str, ...], scale: str | float
) -> Data2Vec:
  """data2vec with the options that speech and text share."""
  options = {
    "layer_norms": [
      n
      for n in ("batch", "instance", "layer")
      if c.get(f"{n}_norm_target_layer")
    ],
    "average_norms": [
      n for n in ("layer", "instance") if c.get(f"{n}_norm_targets")
    ],
  }
  return Data2Vec(
    encoder=encoder,
    head=head,
    targets=Targets(
      top_k=c["average_top_k_layers"],
      output="ffn",
      norm_padding=True,
      **{name: tuple(value) for name, value in options.items()},
    ),
    loss_beta=c["loss_beta"],
    loss_scale=scale,
    ema=Ema(
      start=c["ema_decay"],
      end=c["ema_end_decay"],
      anneal_steps=c["ema_anneal_end_step"],
      tracked=tracked,
    ),
  )
