"""A run of seconds: a very small speech model on the bundled syllables."""

import ml_collections

from tests.configs import tiny


def get_config() -> ml_collections.ConfigDict:
  c = tiny.get_config()
  c.modality = "speech"
  c.total_steps = 8
  c.data = dict(
    source=dict(name="tones", split="train"),
    buckets=dict(lengths=(4_800, 8_000)),
    mask=dict(name="spans", prob=0.65, length=3),
    num_threads=2,
  )
  c.encoder = dict(
    name="speech",
    conv_layers=((8, 40, 20), (8, 16, 16)),
    width=16,
    depth=2,
    num_heads=2,
    position_depth=2,
    position_width=6,
    position_groups=2,
    dropout=0.1,
    layer_drop=0.1,
  )
  c.objective.update(
    loss_beta=0.0,
    loss_scale="rsqrt",
    head=dict(layers=1, initial="torch"),
  )
  c.objective.targets.output = "ffn"
  c.objective.ema.tracked = ("norm", "blocks")
  source = dict(name="tones")
  c.evaluation = dict(
    every=4,
    references=0,
    train=dict(**source, split="train"),
    test=dict(**source, split="test"),
    batch_size=128,
    evaluators=dict(knn=dict(), effective_rank=dict()),
  )
  return c
