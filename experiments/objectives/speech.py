"""The objectives on spoken digits: same data, encoder, compute and probe.

  python -m d2v_jax.main --config=experiments/objectives/speech.py:data2vec2 \\
    --workdir=runs/speech/data2vec2-0 --config.seed=0 \\
    --config.data.source.path=FSDD/manifest.tsv \\
    --config.evaluation.train.path=FSDD/manifest.tsv \\
    --config.evaluation.test.path=FSDD/manifest.tsv

After the colon is one of: data2vec, logmel, data2vec2. FSDD/manifest.tsv lists
recordings (`path`, `digit`, `speaker`). One speaker is left out of pretraining
and of the probe's training, and tested. Encoders have four layers of width 128
on 50 frames a second; that of data2vec2 is of version 2, whose first layer is
below the targets. Rates and decays were not tuned.
"""

import ml_collections

# Updates that come to the same number of operations.
UPDATES = {"data2vec": 800, "logmel": 922, "data2vec2": 668}
SIZES = dict(
  conv_layers=((64, 16, 8), (96, 10, 5), *((128, 4, 2),) * 2, (128, 2, 2)),
  width=128,
  num_heads=4,
  position_depth=3,
  position_width=27,
  position_groups=16,
  dropout=0.1,
)
SPAN = dict(name="span", prob=0.65, length=5)
BLOCK = dict(name="block", num_masks=8, ratio=0.5, adjust=0.05, length=5)
SPEAKER = {"speaker": ("theo",)}


def get_config(name: str) -> ml_collections.ConfigDict:
  """Returns the config of one objective."""
  if name not in UPDATES:
    raise ValueError(
      f"unknown objective {name!r}; choose one of: {', '.join(UPDATES)}."
    )
  steps = UPDATES[name]
  version_2 = name == "data2vec2"
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.total_steps = steps
  c.batch_size = 16 if version_2 else 32
  c.log_every = 50
  c.checkpoint_every = steps
  c.modality = "speech"

  table = dict(name="manifest", path="manifest.tsv")
  c.data = dict(
    source=dict(**table, exclude=SPEAKER),
    min_samples=2_000,
    buckets=dict(lengths=(8_000,)),
    mask=BLOCK if version_2 else SPAN,
    num_threads=2,
  )
  layers = dict(prenet_depth=1, depth=3) if version_2 else dict(depth=4)
  c.encoder = dict(**SIZES, **layers)
  version_1 = ("norm", "blocks")
  visible = ("positions", "alibi_scale", "prenet_norm", "prenet", "blocks")
  targets = dict(
    target="ffn",
    top_k=3,
    layer_norms=("instance",),
    loss_beta=0.0,
    loss_scale="rsqrt",
    ema=dict(
      start=0.999,
      end=0.9998,
      anneal_steps=steps,
      tracked=visible if version_2 else version_1,
    ),
  )
  c.objective = dict(
    data2vec=dict(**targets, head=dict(layers=1, initial="torch")),
    # Log-mel frames are normalised over the utterance already.
    logmel=dict(head=dict(num_outputs=80), norm_targets=False),
    data2vec2=dict(
      **targets, decoder=dict(width=128, layers=3, kernel=7, groups=16)
    ),
  )[name]
  c.objective["name"] = "pixels" if name == "logmel" else name
  c.schedule = dict(name="cosine", peak=1e-3, warmup_steps=steps // 10)
  c.optimizer = dict(
    b2=0.98, eps=1e-6, weight_decay=0.01, clip_norm=3.0, no_decay=()
  )
  c.health = dict(start_step=steps // 2)

  c.evaluation = dict(
    every=-(-steps // 3),
    train=dict(**table, label="digit", exclude=SPEAKER),
    test=dict(**table, label="digit", only=SPEAKER),
    buckets=dict(lengths=(8_000, 16_000)),
    batch_size=100,
    evaluators=dict(linear_probe=dict(), knn=dict(), effective_rank=dict()),
  )
  return c
