"""A run of seconds: a very small ViT on spectrograms of bundled syllables."""

import ml_collections

from tests.configs import tiny


def get_config() -> ml_collections.ConfigDict:
  c = tiny.get_config()
  c.modality = "spectrogram"
  c.total_steps = 8
  c.data = dict(
    source=dict(name="tones", split="train"),
    mask=dict(name="inverse_blocks", num_masks=2, ratio=0.7, length=2),
    mean=(1.0,),
    std=(4.0,),
    num_threads=2,
  )
  c.encoder = dict(
    name="visible_vit",
    frames=24,
    bands=16,
    patch_size=4,
    width=16,
    depth=2,
    num_heads=2,
  )
  c.objective = dict(
    name="data2vec2",
    targets=dict(output="ffn", top_k=2, layer_norms=("instance",)),
    loss_beta=0.0,
    loss_scale="rsqrt",
    cls_loss=1.0,
    decoder=dict(width=16, layers=2, kernel=3, groups=2),
    ema=dict(start=0.8, end=0.99, anneal_steps=8),
  )
  c.evaluation = dict(
    every=4,
    references=0,
    train=dict(name="tones", split="train"),
    test=dict(name="tones", split="test"),
    batch_size=128,
    evaluators=dict(knn=dict(), effective_rank=dict()),
  )
  return c
