"""ImageNet-1k fine-tuning of a data2vec ViT, as released.

  d2v train finetune_imagenet --workdir=gs://BUCKET/RUN2 \\
    --config.init_from=gs://BUCKET/RUN

RUN is a run of vit_base.py, or an imported one. For ViT-L (vit_large.py):
finetune_imagenet:large. The network is RUN's: only what changes is below.
Without init_from, but with --config.encoder.name=vit, a ViT-B learns from
scratch. Other sizes, ImageNet as folders:
docs/vision.md. After data2vec 2.0, whose network has no last norm to leave out,
add --config.encoder.final_norm=None.

Source: data2vec (arXiv 2202.03555) section 4.1 and Table 1 (top-1 84.2 % for
ViT-B pretrained for 800 epochs, 86.6 % for ViT-L pretrained for 1600), and the
released vision commands. ViT-B | ViT-L, where they are treated differently:

                      paper     command             here
  warm-up epochs      20 | 5    10 | not said       10 | 5
  peak rate           4e-3      4e-3 | 5e-3         4e-3 | 5e-3
  mean, std           -         0.5                 RUN's, that is ImageNet's
  top-1 reported      -         of the best epoch   of the last update
  resizing            -         bicubic (Pillow)    areas averaged, or bicubic
  products            -         float16             bfloat16

The command's mean and std look like an omission, as pretraining has ImageNet's;
what RandAugment fills corners with follows them. Its best epoch is chosen on
the images that it is reported for. The rest is the command's:

  batch, epochs       1024 = 8 x 128 | 16 x 64; 100 | 50 of 1251 updates
  rate                linear from 0, cosine to 1e-6, layer decay 0.65
  weight decay        0 | 0.05, not of biases, norms and CLS token; no clipping
  drop path           0.2 | 0.25; no attention dropout
  starts from         the student, with the relative positions
  head                mean of the patches without the last norm, a new norm, a
                      linear map with weights 0.001 times the usual
  single images       crops of 8 to 100 % of the area, flips, RandAugment of
                      magnitude 9 (std 0.5), erasing 0.25 with noise
  pairs               always mixup 0.8 or cutmix 1.0, as often, with one weight
                      for the 128 | 64 images of a GPU; label smoothing 0.1
  evaluation          the middle 224 x 224 of 256

Nobody has run this recipe here yet.

Cost: 86,435,128 | 304,162,216 parameters. Memory too small? With
--config.accumulate=N up to 8 | 16 updates are split into N micro-batches.
"""

import ml_collections

STEPS_PER_EPOCH = 1251  # floor(1,281,167 / 1024), as the command drops the rest

# Peak rate, epochs, warm-up epochs, drop path, weight decay, images of a GPU.
RECIPES = {
  "base": (4e-3, 100, 10, 0.2, 0.0, 128),
  "large": (5e-3, 50, 5, 0.25, 0.05, 64),
}


def get_config(size: str = "base") -> ml_collections.ConfigDict:
  """The released recipe for ViT 'base' or 'large'."""
  if size not in RECIPES:
    raise ValueError(
      f"unknown size {size!r}; choose one of: {', '.join(RECIPES)}"
    )
  peak, epochs, warmup_epochs, drop_path, weight_decay, group = RECIPES[size]
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.total_steps = epochs * STEPS_PER_EPOCH
  c.batch_size = 1024
  c.accumulate = 1
  c.log_every = 100
  c.checkpoint_every = STEPS_PER_EPOCH
  c.init_from = ""
  c.modality = "vision"
  c.compute_dtype = "bfloat16"
  c.sharding = "fsdp" if size == "large" else "replicated"

  c.data = dict(
    source=dict(name="tfds", builder="imagenet2012", split="train"),
    channels=3,
    augment=dict(
      crop_scale=(0.08, 1.0),
      flip=0.5,
      color_jitter=None,
      rand_augment=dict(magnitude=9.0, std=0.5, layers=2),
    ),
    num_threads=64,
    num_workers=0,
  )
  c.encoder = dict(
    drop_path=drop_path,
    attention_dropout=0.0,
    final_norm=False,
    remat="full" if size == "large" else "none",
  )
  c.objective = dict(
    name="classification",
    head=dict(num_outputs=1000, norm=True, initial="small"),
    label_smoothing=0.1,
    mixing=dict(
      mixup=0.8,
      cutmix=1.0,
      prob=1.0,
      switch_prob=0.5,
      erase_prob=0.25,
      group=group,
    ),
  )
  # The command's warm-up reaches the peak one update early and stays there.
  c.schedule = dict(
    name="cosine",
    peak=peak,
    warmup_steps=warmup_epochs * STEPS_PER_EPOCH - 1,
    hold_steps=1,
    final=1e-6,
  )
  c.optimizer = dict(
    b1=0.9, b2=0.999, weight_decay=weight_decay, layer_decay=0.65
  )

  c.evaluation = dict(
    every=5 * STEPS_PER_EPOCH,
    test=dict(name="tfds", builder="imagenet2012", split="validation"),
    batch_size=512,
    evaluators=dict(classification=dict()),
  )
  return c
