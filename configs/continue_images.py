"""data2vec goes on from existing weights, on a folder of your own images.

  d2v train continue_images --workdir=RUN2 \\
    --config.init_from=RUN --config.data.source.path=IMAGES

RUN is an import of a ViT (data2vec, ViT, DINO, MAE, BEiT), or a run; the
network, its image size included, is RUN's. IMAGES is a folder of images at any
depth. The head is new unless RUN was of data2vec, too. All that RUN learned by
(objective, masks, head or decoder) goes on, from its teacher, with `:source`.
That is the way for data2vec 2.0, and for small runs of your own:

  d2v train continue_images:source --workdir=RUN2 \\
    --config.init_from=RUN --config.data.source.path=IMAGES

Networks of fewer than 6 layers: --config.objective.targets.top_k=3; of few
patches: --config.data.mask.min_block=4

Source: the algorithm is vit_base.py's. The rates are a tenth of those from
scratch and smaller below, the teacher's decay is near those of the released
recipes, and a new head learns alone at first. These are guesses, not tuned.
"""

import ml_collections

from configs import image_folder

OBJECTIVES = ("data2vec", "source")


def get_config(objective: str = "data2vec") -> ml_collections.ConfigDict:
  """More of data2vec, with a head of its own or all that RUN has."""
  if objective not in OBJECTIVES:
    raise ValueError(
      f"unknown {objective!r}; choose one of: {', '.join(OBJECTIVES)}"
    )
  c = image_folder.get_config()
  c.init_from = ""
  c.total_steps = 5000
  c.data = dict(
    source=dict(name="folder", path="data/images", labels=False),
    augment=dict(crop_scale=(0.2, 1.0), flip=0.5, color_jitter=None),
    num_threads=4,
    max_corrupt=100,
  )
  c.encoder = dict()
  ema = dict(start=0.9998, end=0.9999, anneal_steps="100%")
  c.schedule = dict(name="cosine", peak=1e-4, warmup_steps="5%", final=1e-6)
  c.optimizer = dict(weight_decay=0.05, layer_decay=0.85, clip_norm=3.0)
  if objective == "source":
    c.init_model = "teacher"
    c.objective = dict(name="source", ema=ema)
  else:
    c.data.mask = dict(name="beit_blocks", ratio=0.6, min_block=16)
    c.objective = dict(
      name="data2vec",
      targets=dict(output="ffn", top_k=6, layer_norms=("instance",)),
      loss_beta=2.0,
      head=dict(layers=1),
      ema=ema,
    )
    c.optimizer.freeze_steps = "5%"
  c.health = dict(start_step="10%")
  # Before and after are probes of their own.
  c.evaluation = dict(every=0)
  return c
