"""Attentive probe: one learned query attends to the tokens of a frozen network.

  d2v probe probe_attentive --run=RUN --workdir=RUN2 \\
    --config.data.source.path=IMAGES/train \\
    --config.evaluation.test.path=IMAGES/test

Only the head learns, by the loop that trains everything else and with
augmentation, so it works at any scale. --config.init_model=student probes the
student. --config.objective.head.pool=mean makes it a linear probe of that kind.
The number of classes is --config.objective.head.num_outputs.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """20 epochs of 20,000 images."""
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.total_steps = 1600
  c.batch_size = 250
  c.log_every = 50
  c.checkpoint_every = 400
  c.init_from = ""
  c.init_model = "teacher"
  c.modality = "vision"
  c.data = dict(
    source=dict(name="folder", path="data/images/train", labels=True),
    augment=dict(crop_scale=(0.35, 1.0), flip=0.5, color_jitter=None),
    num_threads=4,
  )
  c.encoder = dict()
  c.objective = dict(
    name="classification",
    frozen=True,
    head=dict(num_outputs=10, pool="attentive", norm=True),
  )
  c.schedule = dict(name="cosine", peak=1e-3, warmup_steps="6.25%")
  c.optimizer = dict(weight_decay=1e-3)
  c.evaluation = dict(
    every="25%",
    test=dict(name="folder", path="data/images/test", labels=True),
    batch_size=500,
    evaluators=dict(classification=dict()),
  )
  return c
