"""A second stage on images: neighbours among features become alike.

  d2v train refine_images --workdir=RUN2 \\
    --config.init_from=RUN --config.data.source.path=IMAGES

RUN is a finished run or an import, whose network and teacher are where this
begins. IMAGES is a folder at any depth, without labels: the same as RUN's, or
others. Masked prediction leaves features of which a trained head makes much and
nearest neighbours little; telling an example's other view from those of other
examples for a short while mends that. What is to be ignored is in
config.data.augment: crops, flips and colours say that neither place nor colour
matters. Where they do, change it.

Larger batches have more to tell apart. Networks are kept near what they were by
layer_decay, most where they are lowest.

Measured on the digits with one seed: experiments/digits.

Source: the idea is MIM-Refiner's (arXiv 2402.10093), the loss MoCo v3's (arXiv
2104.02057) with the views of BYOL; sizes and rates are for small networks and
were not searched for.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Two views of each image, told from those of all others in the batch."""
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.init_from = ""
  c.init_model = "teacher"
  c.total_steps = 1000
  c.batch_size = 256
  c.log_every = 20
  c.checkpoint_every = 250
  c.modality = "vision"
  c.compute_dtype = "float32"

  c.data = dict(
    source=dict(name="folder", path="data/images", labels=False),
    augment=dict(
      views=2,
      crop_scale=(0.2, 1.0),
      flip=0.5,
      color_jitter=None,
      view_augment=dict(),
    ),
    num_threads=4,
    max_corrupt=100,
  )
  c.encoder = dict()
  c.objective = dict(
    name="contrastive",
    temperature=0.2,
    projector=dict(hidden=1024, num_outputs=128),
    predictor=dict(hidden=1024, num_outputs=128),
    ema=dict(start=0.99, end=1.0, anneal_steps="100%", schedule="cosine"),
  )
  c.schedule = dict(name="cosine", peak=1e-3, warmup_steps="10%", final=1e-6)
  c.optimizer = dict(weight_decay=0.05, clip_norm=3.0, layer_decay=0.65)
  c.health = dict(start_step="10%")
  # Before and after are probes of their own.
  c.evaluation = dict(every=0)
  return c
