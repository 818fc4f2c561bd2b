"""data2vec ViT-L/16 on ImageNet-1k, first of the paper's two stages.

  d2v train vit_large --workdir=RUN1

Second stage, 800 more epochs with a slower teacher that starts anew from the
student of the first (paper section 4.1; 86.6 % top-1 after fine-tuning):

  d2v train vit_large --workdir=RUN2 \\
    --config.init_from=RUN1 --config.objective.ema.start=0.9999 \\
    --config.objective.ema.end=0.9999 --config.schedule.warmup_steps=12479

Source and differences as in vit_base.py, and:

                      paper      command     here
  batch size          8192       64 x 64     4096
  peak rate           1e-3       1e-3        1e-3
  warm-up epochs      80         80, then 40 80, then 40
  drop path           0.2        0.2         0.2
  attention dropout   -          0.15        0.15
  layer scale         -          1e-5        1e-5
  EMA decay           0.9998, then 0.9999    the same

Cost: 304,186,816 parameters. State and activations are sharded (fsdp) and the
activations recomputed in the backward pass.
"""

import ml_collections

from configs import vit_base

STEPS_PER_EPOCH = 312  # floor(1,281,167 / 4096)


def get_config() -> ml_collections.ConfigDict:
  """The published recipe, stage one."""
  c = vit_base.get_config()
  c.total_steps = 800 * STEPS_PER_EPOCH
  c.batch_size = 4096
  c.checkpoint_every = 4 * STEPS_PER_EPOCH
  c.checkpoints.keep_every = 100 * STEPS_PER_EPOCH
  c.sharding = "fsdp"
  c.init_from = ""
  c.encoder.update(
    width=1024,
    depth=24,
    num_heads=16,
    layer_scale=1e-5,
    drop_path=0.2,
    attention_dropout=0.15,
  )
  c.encoder.remat = "full"
  c.schedule.peak = 1e-3
  c.schedule.warmup_steps = 80 * STEPS_PER_EPOCH - 1
  c.evaluation.every = 20 * STEPS_PER_EPOCH
  return c
