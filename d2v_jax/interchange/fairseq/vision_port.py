"""fairseq's own data2vec_vision, another model than the vision release."""

from d2v_jax.interchange.fairseq import names
from d2v_jax.interchange.fairseq.checkpoint import (
  LICENCE,
  Checkpoint,
  data2vec_objective,
  size,
)
from d2v_jax.interchange.fairseq.vit import UNUSED, grid_of, inputs, sizes
from d2v_jax.interchange.model import Foreign

_TABLE = "encoder.rel_pos_bias.relative_position_bias_table"


def read(checkpoint: Checkpoint) -> Foreign:
  """Reads a pretrained model; its head, which no loss uses, is left out."""
  c, arrays = checkpoint.model, checkpoint.arrays
  checkpoint.require_name(c, "data2vec_vision")
  c.require("shared_rel_pos_bias", True)
  table = size(checkpoint, _TABLE, 0)
  patch = size(checkpoint, "patch_embed.conv.weight", 2)
  encoder = sizes(checkpoint, "encoder.blocks.", "mlp.0") | {
    "image_size": grid_of(checkpoint, table) * patch,
    "patch_size": patch,
    "num_heads": size(checkpoint, _TABLE, 1),
    "positions": "relative",
    "norm_eps": 1e-5,
    "drop_path": c.number("drop_path", 0.0),
    "attention_dropout": c.number("attention_dropout", 0.0),
  }
  own = c.flag("ema_transformer_only", True)
  tracked = ("blocks", "norm", "relative_position_bias") if own else ()
  prefix = "encoder." if own else ""
  teacher = {
    prefix + name: value
    for name, value in checkpoint.averages.get("_ema", {}).items()
  }
  objective = {}
  if not checkpoint.encoder_only:
    scale = c.number("loss_scale", None)
    objective = data2vec_objective(
      c,
      output="block" if c.flag("end_of_block_targets", True) else "ffn",
      head={"layers": 0},
      tracked=tracked,
      loss_scale="rsqrt" if scale is None else scale if scale > 0 else 1.0,
    )
  return Foreign(
    modality="vision",
    encoder=encoder,
    objective=objective,
    inputs=inputs(checkpoint, encoder, "patch_embed.conv.weight"),
    arrays=arrays,
    rules=names.VISION_PORT,
    teacher=teacher,
    tracked=tracked,
    unused=(*UNUSED, r"final_proj\..*"),
    description="data2vec_vision of fairseq, pretrained",
    notes=(LICENCE,),
  )
