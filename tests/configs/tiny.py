"""A run of seconds: twelve steps of a very small ViT on the digits."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.total_steps = 12
  c.batch_size = 16
  c.log_every = 1
  c.checkpoint_every = 4
  c.modality = "vision"

  c.data = dict(
    source=dict(name="digits", split="train"),
    channels=1,
    augment=dict(crop_scale=None, flip=0.5, color_jitter=None),
    mask=dict(name="beit_blocks", num_masked=10, min_block=2),
    num_threads=2,
    resize_ratio=None,
  )
  c.encoder = dict(
    name="vit",
    image_size=8,
    patch_size=2,
    width=16,
    depth=2,
    num_heads=2,
    layer_scale=0.0,
    mean=(0.31,),
    std=(0.37,),
  )
  c.objective = dict(
    name="data2vec",
    targets=dict(output="block", top_k=2, layer_norms=("instance",)),
    loss_beta=2.0,
    head=dict(layers=1),
    ema=dict(start=0.8, end=0.99, anneal_steps=12),
  )
  c.schedule = dict(name="cosine", peak=4e-3, warmup_steps=2)
  c.optimizer = dict(weight_decay=0.05, clip_norm=3.0)
  c.health = dict(every=0)
  c.evaluation = dict(
    every=6,
    references=0,
    train=dict(name="digits", split="train"),
    test=dict(name="digits", split="test"),
    batch_size=512,
    evaluators=dict(knn=dict(), effective_rank=dict()),
  )
  return c
