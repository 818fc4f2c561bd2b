"""Spectrograms of your own recordings, as EAT learns from them; a small model.

  d2v train audio_spectrogram --workdir=RUN \\
    --config.data.source.path=AUDIO --config.evaluation.evaluators=None

AUDIO is a folder of recordings, as for configs/audio_folder.py, and so are the
tables that can stand in its place. Log-mel frames are an image that data2vec
2.0 learns from: masks that leave blocks of patches visible, and a CLS token
that predicts the mean of the teacher's targets over the whole recording.

As it is: short words, of 0.66 s, on a CPU. EAT itself, which learns from ten
seconds of any sound (arXiv 2401.03497): frames=1024, bands=128, patch_size=16,
width=768, depth=12, num_heads=12; masks of length=5, num_masks=16; targets of
top_k=12; a decoder of width=384 and layers=6; ema from 0.9998 to 0.99999 over
100,000 of 400,000 updates of 48 recordings; a peak of 5e-4 after 53,333.

`d2v check audio_spectrogram` gives mean and std of your recordings.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """8 x 8 patches of 80 ms and 8 of 64 bands."""
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.total_steps = 600
  c.batch_size = 16
  c.log_every = 50
  c.checkpoint_every = 150
  c.modality = "spectrogram"
  c.compute_dtype = "float32"

  c.data = dict(
    source=dict(name="folder", path="data/audio"),
    min_seconds=0.125,
    mean=(1.06,),
    std=(4.22,),
    mask=dict(
      name="inverse_blocks", num_masks=4, ratio=0.8, adjust=0.07, length=3
    ),
    num_threads=2,
  )
  c.encoder = dict(
    name="visible_vit",
    remat="dots",
    frames=64,
    bands=64,
    patch_size=8,
    width=96,
    depth=3,
    num_heads=4,
  )
  c.objective = dict(
    name="data2vec2",
    targets=dict(
      output="ffn",
      top_k=3,
      layer_norms=("instance",),
      average_norms=("layer",),
    ),
    loss_beta=0.0,
    loss_scale="rsqrt",
    cls_loss=1.0,
    decoder=dict(width=48, layers=2, kernel=3, groups=1),
    ema=dict(
      start=0.995,
      end=0.999,
      anneal_steps="100%",
      tracked=("feature_encoder", "cls_token", "prenet_norm", "blocks"),
    ),
  )
  c.schedule = dict(name="cosine", peak=1e-3, warmup_steps="10%", final=1e-5)
  c.optimizer = dict(b2=0.95, weight_decay=0.05, clip_norm=4.0)

  c.evaluation = dict(
    every="25%",
    train=dict(name="folder", path="data/audio/train", labels=True),
    test=dict(name="folder", path="data/audio/test", labels=True),
    batch_size=128,
    evaluators=dict(linear_probe=dict(), knn=dict(), effective_rank=dict()),
  )
  return c
