"""data2vec on a folder of your images, for as long as you have time.

  d2v train own_images --workdir=RUN --config.data.source.path=PHOTOS \\
    --config.minutes=30

PHOTOS has images at any depth; labels are not used. What is "derived" is chosen
when the run begins, printed with its reason, and kept in RUN/derived.json, from
which the run goes on; any of it can be given, as in --config.encoder.width=192,
and then is not derived. The rules are in d2v_jax/deriving/images.py:

  image and patch: the middle one of the shorter sides, at most 128 pixels, as a
    grid of about 8 x 8 patches.
  network, positions, rate, Muon: those of image_folder.py; for fewer than 5,000
    images, or where there is no time for 1,000 updates of that, the network and
    positions of digits.py by Adam.
  colours: channels, mean and std of the images; crops, flips and jitter as in
    image_folder.py, or for grey images milder crops alone.
  batch: 64 images, fewer where an epoch would have fewer than 8 batches.
  length: the updates, timed on this machine, that `minutes` leave after start
    and evaluations; at most 800 epochs. The teacher's decay follows it.

Source: the algorithm is vit_base.py's.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """A small ViT of which the data and the time say the rest."""
  c = ml_collections.ConfigDict()
  c.minutes = 30.0
  c.seed = 0
  c.total_steps = "derived"
  c.batch_size = "derived"
  c.log_every = "1%"
  c.checkpoint_every = "10%"
  c.modality = "vision"

  c.data = dict(
    source=dict(name="folder", path="data/images", labels=False),
    channels="derived",
    augment=dict(crop_scale="derived", flip="derived", color_jitter="derived"),
    mask=dict(name="beit_blocks", ratio=0.6, min_block="derived"),
    num_threads=4,
    resize_ratio=None,
  )
  c.encoder = dict(
    name="vit",
    remat="dots",
    image_size="derived",
    patch_size="derived",
    width="derived",
    depth="derived",
    num_heads="derived",
    positions="derived",
    mean="derived",
    std="derived",
    layer_scale=0.0,
  )
  c.objective = dict(
    name="data2vec",
    targets=dict(output="ffn", top_k="derived", layer_norms=("instance",)),
    loss_beta=2.0,
    head=dict(layers=1),
    ema=dict(start="derived", end="derived", anneal_steps="100%"),
  )
  c.schedule = dict(
    name="cosine", peak="derived", warmup_steps="10%", final=1e-5
  )
  c.optimizer = dict(weight_decay=0.05, clip_norm=3.0, muon="derived")
  c.health = dict(start_step="25%")
  c.evaluation = dict(every="25%")
  return c
