"""data2vec ViT-S/16 on ImageNet-1k, for one machine.

  d2v train vit_small --workdir=RUN

The paper has no model of this size: the recipe is vit_base.py's with what
smaller models and shorter training usually change. Not yet run in full.

                      vit_base.py    here    because
  width, heads        768, 12        384, 6  DeiT-S
  batch size          2048           1024    fits one machine
  epochs              800            300     cost
  peak rate           2e-3           1e-3    batch size
  drop path           0.25           0.1     smaller model
  attention dropout   0.05           0       smaller model
  EMA decay           0.9998         0.999 to 0.9998 over a third of the run,
                                             since the run is shorter
"""

import ml_collections

from configs import vit_base

STEPS_PER_EPOCH = 1251  # floor(1,281,167 / 1024)


def get_config() -> ml_collections.ConfigDict:
  """A smaller model and a shorter run."""
  c = vit_base.get_config()
  c.total_steps = 300 * STEPS_PER_EPOCH
  c.batch_size = 1024
  c.checkpoint_every = STEPS_PER_EPOCH
  c.checkpoints.keep_every = 100 * STEPS_PER_EPOCH
  c.encoder.update(width=384, num_heads=6, drop_path=0.1, attention_dropout=0.0)
  c.objective.ema.start = 0.999
  c.objective.ema.anneal_steps = 100 * STEPS_PER_EPOCH
  c.schedule.peak = 1e-3
  c.schedule.warmup_steps = 10 * STEPS_PER_EPOCH - 1
  c.evaluation.every = 10 * STEPS_PER_EPOCH
  return c
