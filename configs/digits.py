"""Digits: the embedded default. scikit-learn's 8x8 digits, CPU, two minutes."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.total_steps = 1500
  c.batch_size = 128
  c.log_every = 50
  c.checkpoint_every = 500
  c.modality = "vision"

  c.data = dict(
    source=dict(name="digits", split="train"),
    channels=1,
    augment=dict(crop_scale=None, flip=0.0, color_jitter=None),
    mask=dict(name="block", num_masked=10, min_block=2),
    num_threads=2,
  )
  c.encoder = dict(
    image_size=8,
    patch_size=2,
    width=64,
    depth=4,
    num_heads=4,
    layer_scale=0.0,
    mean=(0.31,),
    std=(0.37,),
  )
  c.objective = dict(
    name="data2vec",
    top_k=3,
    layer_norms=("instance",),
    loss_beta=2.0,
    head=dict(layers=1),
    ema=dict(start=0.8, end=0.998, anneal_steps=1500),
  )
  c.schedule = dict(name="cosine", peak=4e-3, warmup_steps=150, final=1e-5)
  c.optimizer = dict(weight_decay=0.05, clip_norm=3.0)

  c.evaluation = dict(
    every=500,
    train=dict(name="digits", split="train"),
    test=dict(name="digits", split="test"),
    batch_size=500,
    transform=dict(resize_ratio=None),
    evaluators=dict(linear_probe=dict(), knn=dict(), effective_rank=dict()),
  )
  return c
