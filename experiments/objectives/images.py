"""The objectives on small photographs: same data, encoder, compute and probe.

  d2v train experiments/objectives/images.py:pixels \\
    --workdir=runs/images/pixels-0 --config.seed=0 \\
    --config.data.source.path=IMAGES/train \\
    --config.evaluation.train.path=IMAGES/train \\
    --config.evaluation.test.path=IMAGES/test

After the colon is one of: data2vec, pixels, byol, data2vec2, mae. Encoders have
four layers of width 128 on 16 patches. Those of data2vec2 and mae are of
version 2: positions are fixed, norms come after the branches, and of the four
layers the first is below the targets. README.md has what was chosen how.
"""

import ml_collections

# Updates that come to the same number of operations.
UPDATES = {
  "data2vec": 1200,
  "pixels": 1582,
  "byol": 599,
  "data2vec2": 823,
  "mae": 847,
}
SIZES = dict(image_size=32, patch_size=8, width=128, num_heads=4)
VERSION_1 = dict(
  name="vit", **SIZES, depth=4, positions="absolute", layer_scale=0.0
)
VERSION_2 = dict(name="visible_vit", **SIZES, prenet_depth=1, depth=3)
DECODER = dict(width=128, layers=3, kernel=3, groups=16)
MASK = dict(name="beit_blocks", num_masked=10, min_block=2)
MASKS = dict(
  name="inverse_blocks", num_masks=8, ratio=0.6, adjust=0.1, length=2
)
TRACKED = ("feature_encoder", "cls_token", "prenet_norm", "prenet", "blocks")
# Numbers in a patch.
VALUES = 8 * 8 * 3


def get_config(name: str) -> ml_collections.ConfigDict:
  """Returns the config of one objective."""
  if name not in UPDATES:
    raise ValueError(
      f"unknown objective {name!r}; choose one of: {', '.join(UPDATES)}."
    )
  steps = UPDATES[name]
  version_2 = name in ("data2vec2", "mae")
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.total_steps = steps
  c.batch_size = 32 if version_2 else 64
  c.log_every = 50
  c.checkpoint_every = steps
  c.modality = "vision"

  c.data = dict(
    source=dict(name="folder", path="data/images/train"),
    channels=3,
    augment=dict(crop_scale=(0.2, 1.0), flip=0.5, color_jitter=(0.4, 0.4, 0.4)),
    num_threads=2,
    resize_ratio=None,
  )
  if name == "byol":
    c.data.augment = dict(views=2)
  else:
    c.data.mask = MASKS if version_2 else MASK
  c.encoder = VERSION_2 if version_2 else VERSION_1
  c.objective = dict(
    data2vec=dict(
      targets=dict(output="ffn", top_k=3, layer_norms=("instance",)),
      loss_beta=2.0,
      head=dict(layers=1),
      ema=dict(start=0.99, end=0.9995, anneal_steps=steps),
    ),
    pixels=dict(head=dict(num_outputs=VALUES)),
    byol=dict(
      projector=dict(hidden=512, num_outputs=128),
      predictor=dict(hidden=512, num_outputs=128, speed=20.0),
      ema=dict(start=0.996, end=1.0, anneal_steps=steps, schedule="cosine"),
    ),
    data2vec2=dict(
      targets=dict(
        output="ffn",
        top_k=3,
        layer_norms=("instance",),
        average_norms=("layer",),
      ),
      loss_beta=0.0,
      loss_scale="rsqrt",
      cls_loss=0.25,
      decoder=DECODER,
      ema=dict(start=0.99, end=0.9995, anneal_steps=steps, tracked=TRACKED),
    ),
    mae=dict(head=dict(num_outputs=VALUES), decoder=DECODER),
  )[name]
  c.objective["name"] = "pixels" if name == "mae" else name
  c.schedule = dict(
    name="cosine", peak=1e-3, warmup_steps=steps // 10, final=1e-5
  )
  c.optimizer = dict(b2=0.95, weight_decay=0.05, clip_norm=3.0)
  c.health = dict(start_step=steps // 2)

  c.evaluation = dict(
    every=-(-steps // 3),
    train=dict(name="folder", path="data/images/train", labels=True),
    test=dict(name="folder", path="data/images/test", labels=True),
    batch_size=500,
    evaluators=dict(linear_probe=dict(), knn=dict(), effective_rank=dict()),
  )
  return c
