"""Fine-tuning of a pretrained image model on a folder with class folders.

  d2v train finetune_images --workdir=RUN2 \\
    --config.init_from=RUN --config.objective.head.num_outputs=10 \\
    --config.data.source.path=IMAGES/train \\
    --config.evaluation.test.path=IMAGES/test

IMAGES/train/<class>/*.jpg; IMAGES/test has the same classes, and num_outputs is
their number. RUN is a run of image_folder.py, or any other, or an import; the
network, its size included, is RUN's. Where that is one of data2vec 2.0, which
has no last norm to leave out, add --config.encoder.final_norm=None. From
scratch with the network of image_folder.py, for comparison: d2v train
finetune_images:scratch

Source: the recipe of finetune_imagenet.py, but for small models, few images and
short runs: weaker augmentation without mixup, a smaller rate with less decay
over fewer layers. These are guesses, not tuned. With many images and time, take
over its `augment` and `mixing`.
"""

import ml_collections

from configs import image_folder

STARTS = ("pretrained", "scratch")


def get_config(start: str = "pretrained") -> ml_collections.ConfigDict:
  """Fine-tuning of RUN's network, or the same from scratch."""
  if start not in STARTS:
    raise ValueError(f"unknown {start!r}; choose one of: {', '.join(STARTS)}")
  c = image_folder.get_config()
  c.init_from = ""
  c.total_steps = 3000
  c.data = dict(
    source=dict(name="folder", path="data/images/train", labels=True),
    channels=3,
    augment=dict(
      crop_scale=(0.35, 1.0),
      flip=0.5,
      color_jitter=None,
      rand_augment=dict(magnitude=5.0, std=0.5, layers=2),
    ),
    num_threads=4,
    max_corrupt=100,
    # To evaluate, the shorter side becomes the image size, and the middle is
    # taken.
    resize_ratio=1.0,
  )
  if start == "pretrained":
    c.encoder = dict()
  c.encoder.update(drop_path=0.1, final_norm=False)
  c.objective = dict(
    name="classification",
    head=dict(num_outputs=10, norm=True, initial="small"),
    label_smoothing=0.1,
  )
  c.schedule = dict(name="cosine", peak=1e-3, warmup_steps="10%", final=1e-6)
  c.optimizer = dict(weight_decay=0.05, layer_decay=0.75, clip_norm=3.0)
  c.evaluation = dict(
    every="16.7%",
    test=dict(name="folder", path="data/images/test", labels=True),
    batch_size=500,
    evaluators=dict(classification=dict()),
  )
  return c
