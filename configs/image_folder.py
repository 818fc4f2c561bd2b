"""data2vec on a folder of small images; written for 32x32 photographs.

  d2v train image_folder --workdir=RUN --config.data.source.path=IMAGES/train \\
    --config.evaluation.train.path=IMAGES/train \\
    --config.evaluation.test.path=IMAGES/test

IMAGES/train/<class>/*.jpg is a folder with labels, which only the evaluators
use. Without labels, switch them off: --config.evaluation.evaluators=None

Larger images: set --config.encoder.image_size and patch_size (their ratio is
the grid; mask.ratio follows it) and a wider encoder; configs/vit_small.py has
the values for 224x224.

Source: the algorithm and the augmentation are vit_base.py's; sizes, rates and
the teacher's decay are for small models and short runs, see
experiments/cifar10_20k for what was measured with them and what was tried.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """A small ViT on 8 x 8 patches."""
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.total_steps = 2500
  c.batch_size = 64
  c.log_every = 50
  c.checkpoint_every = 500
  c.modality = "vision"
  c.compute_dtype = "float32"

  c.data = dict(
    source=dict(name="folder", path="data/images/train"),
    channels=3,
    augment=dict(crop_scale=(0.2, 1.0), flip=0.5, color_jitter=(0.4, 0.4, 0.4)),
    mask=dict(name="beit_blocks", ratio=0.6, min_block=4),
    num_threads=4,
    max_corrupt=100,
    resize_ratio=None,
  )
  c.encoder = dict(
    name="vit",
    remat="dots",
    image_size=32,
    patch_size=4,
    width=128,
    depth=4,
    num_heads=4,
    positions="absolute",
    layer_scale=0.0,
  )
  c.objective = dict(
    name="data2vec",
    targets=dict(output="ffn", top_k=3, layer_norms=("instance",)),
    loss_beta=2.0,
    head=dict(layers=1),
    ema=dict(start=0.99, end=0.9995, anneal_steps="100%"),
  )
  c.schedule = dict(name="cosine", peak=1.5e-3, warmup_steps="5%", final=1e-5)
  # Of the layers' matrices: better than Adam, see experiments/small_data.
  c.optimizer = dict(weight_decay=0.05, clip_norm=3.0, muon=4.0)

  c.evaluation = dict(
    every="25%",
    train=dict(name="folder", path="data/images/train", labels=True),
    test=dict(name="folder", path="data/images/test", labels=True),
    batch_size=500,
    # Which is best depends on the data; held-out training examples say.
    evaluators=dict(
      linear_probe=dict(features=dict(pool=("mean", "mean_std", "cells:2"))),
      knn=dict(features=dict(pool=("mean", "mean_std", "cells:2"))),
      effective_rank=dict(),
      position_share=dict(),
    ),
  )
  return c
