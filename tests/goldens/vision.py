"""How the reference's vision cases are expressed in our terms."""

import dataclasses

import numpy as np

from d2v_jax.models.heads import RegressionHead
from d2v_jax.models.vision import vit
from d2v_jax.objectives.data2vec import Data2Vec
from d2v_jax.objectives.ema import Ema
from d2v_jax.objectives.targets import Targets
from tests.goldens import inert, schedules
from tests.goldens.options import Options
from tests.goldens.torch_names import Names, Rule

_TARGETS = {"end": "block", "fc": "ffn"}

_BLOCK = r"(?:encoder\.)?blocks\.(?P<layer>\d+)\."
RULES = (
  Rule(r"cls_(?:token|emb)", "cls_token"),
  Rule(r"mask_(?:token|emb)", "mask_token"),
  Rule(r"pos_embed", "position_embedding"),
  Rule(
    r"patch_embed\.(?:proj|conv)\.weight",
    "feature_encoder/proj/kernel",
    "patch",
  ),
  Rule(r"patch_embed\.(?:proj|conv)\.bias", "feature_encoder/proj/bias"),
  Rule(
    r"(?:encoder\.)?rel_pos_bias\.relative_position_bias_table",
    "relative_position_bias/table",
  ),
  Rule(_BLOCK + r"gamma_1", "blocks/gamma_attention"),
  Rule(_BLOCK + r"gamma_2", "blocks/gamma_ffn"),
  Rule(_BLOCK + r"norm1\.weight", "blocks/norm1/scale"),
  Rule(_BLOCK + r"norm1\.bias", "blocks/norm1/bias"),
  Rule(_BLOCK + r"norm2\.weight", "blocks/norm2/scale"),
  Rule(_BLOCK + r"norm2\.bias", "blocks/norm2/bias"),
  Rule(_BLOCK + r"attn\.qkv\.weight", "blocks/attention/qkv/kernel", "linear"),
  Rule(_BLOCK + r"attn\.q_bias", "blocks/attention/q_bias"),
  Rule(_BLOCK + r"attn\.v_bias", "blocks/attention/v_bias"),
  Rule(_BLOCK + r"attn\.proj\.weight", "blocks/attention/out/kernel", "linear"),
  Rule(_BLOCK + r"attn\.proj\.bias", "blocks/attention/out/bias"),
  Rule(_BLOCK + r"mlp\.(?:fc1|0)\.weight", "blocks/mlp/fc1/kernel", "linear"),
  Rule(_BLOCK + r"mlp\.(?:fc1|0)\.bias", "blocks/mlp/fc1/bias"),
  Rule(_BLOCK + r"mlp\.(?:fc2|2)\.weight", "blocks/mlp/fc2/kernel", "linear"),
  Rule(_BLOCK + r"mlp\.(?:fc2|2)\.bias", "blocks/mlp/fc2/bias"),
  Rule(r"(?:encoder\.)?norm\.weight", "norm/scale"),
  Rule(r"(?:encoder\.)?norm\.bias", "norm/bias"),
  Rule(r"lm_head\.weight", "head/fc1/kernel", "linear"),
  Rule(r"lm_head\.bias", "head/fc1/bias"),
)


@dataclasses.dataclass(frozen=True)
class Case:
  """A model case in our terms.

  Attributes:
    objective: what the case trains.
    names: PyTorch names <-> our parameter tree.
  """

  objective: Data2Vec
  names: Names

  def batch(self, step: dict[str, np.ndarray], dtype: str) -> dict:
    """Our batch of the arrays of one step (keys without 'step{k}/')."""
    images = step["input/img"].transpose(0, 2, 3, 1).astype(dtype)
    mask = step["mask"].reshape(len(images), -1).astype(bool)
    return {"inputs": images, "mask": mask}


def vision_v1(meta: dict, shapes: dict, dtype: str) -> Case:
  """fairseq's data2vec_vision: no head, LayerNorm 1e-5, sum over D."""
  c = Options(meta["resolved_config"], inert.VISION_V1)
  c.only("shared_rel_pos_bias", True)
  c.off("drop_path", "attention_dropout")
  scale = c["loss_scale"]
  if scale is None:
    scale = "rsqrt"
  elif scale <= 0:
    scale = 1.0
  tracked = ()
  if c["ema_transformer_only"]:
    tracked = ("blocks", "norm", "relative_position_bias")
  objective = Data2Vec(
    encoder=vit(
      **_sizes(c, shapes, "encoder.blocks.0.mlp.0.weight"),
      image_size=c["image_size"],
      layer_scale=c["layer_scale_init_value"],
      norm_eps=1e-5,
      compute_dtype=dtype,
    ),
    head=RegressionHead(0, dtype),
    targets=Targets(
      top_k=c["average_top_k_layers"],
      output="block" if c["end_of_block_targets"] else "ffn",
      layer_norms=_norms(
        batch=c["batch_norm_target_layer"],
        instance=c["instance_norm_target_layer"],
        layer=c["layer_norm_target_layer"],
      ),
      average_norms=_norms(
        layer=c["layer_norm_targets"], instance=c["instance_norm_targets"]
      ),
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
  c.finish()
  return Case(
    objective, Names(shapes, RULES, ("final_proj.weight", "final_proj.bias"))
  )


def vision_beit(meta: dict, shapes: dict, dtype: str) -> Case:
  """The released vision code: linear head, LayerNorm 1e-6, mean over D."""
  config = Options(meta["resolved_config"])
  c = config.section("model", inert.VISION_BEIT_MODEL)
  t = config.section("train", inert.VISION_BEIT_TRAIN)
  c.off("use_rel_pos_bias", "drop_rate", "attn_drop_rate", "drop_path_rate")
  c.only("qkv_bias", True)
  absolute, relative = c["use_abs_pos_emb"], c["use_shared_rel_pos_bias"]
  if absolute == relative:
    c.skip(
      "use_shared_rel_pos_bias",
      f"with use_abs_pos_emb={absolute}; ours has one kind of positions",
    )
  t.off("var_w0")
  squared, beta = t["l2_loss"], t["l1_beta"]
  if not (squared or beta > 0):
    t.skip("l1_beta", "without l2_loss that is an L1 loss, not built here")
  depth, layers = c["depth"], sorted(t["target_layers"])
  if layers != list(range(depth - len(layers), depth)):
    t.skip("target_layers", "not the last ones")
  scale = t["loss_scale"]
  width = c["embed_dim"]
  objective = Data2Vec(
    encoder=vit(
      **_sizes(c, shapes, "blocks.0.mlp.fc1.weight"),
      image_size=c["img_size"],
      layer_scale=c["init_values"] or 0.0,
      positions="absolute" if absolute else "relative",
      compute_dtype=dtype,
    ),
    head=RegressionHead(1, dtype),
    targets=Targets(
      top_k=len(layers),
      output=_TARGETS[t.only("layer_results", *_TARGETS)],
      layer_norms=_norms(
        batch=t["target_batch_norm"],
        instance=t["target_instance_norm"],
        layer=t["target_layer_norm_last"],
      ),
      average_norms=_norms(
        instance=t["post_target_instance_norm"],
        layer=t["post_target_layer_norm"],
      ),
    ),
    loss_beta=0.0 if squared else beta,
    loss_scale="mean" if scale == -1 else scale / width,
    ema=schedules.ema_of_vision_port(t),
  )
  config.finish()
  return Case(objective, Names(shapes, RULES))


def _sizes(config, shapes, first_mlp_weight):
  return {
    "patch_size": config["patch_size"],
    "width": config["embed_dim"],
    "depth": config["depth"],
    "num_heads": config["num_heads"],
    "mlp_ratio": shapes[first_mlp_weight][0] / config["embed_dim"],
  }


def _norms(**on):
  return tuple(name for name, wanted in on.items() if wanted)
