"""The objectives on Bible verses: same data, encoder, compute and probe.

  d2v train experiments/objectives/text.py:mlm \\
    --workdir=runs/text/mlm-0 --config.seed=0 \\
    --config.data.source.path=kjv.tsv.gz \\
    --config.evaluation.train.path=kjv.tsv.gz \\
    --config.evaluation.test.path=kjv.tsv.gz

After the colon is one of: data2vec, mlm, data2vec2. The table has columns
`text`, `label` (7 groups of books) and `split`. Encoders have four layers of
width 128 on blocks of 64 tokens of the bundled vocabulary of 2000; that of
data2vec2 is of version 2, whose first layer is below the targets. README.md
has what was chosen how.
"""

import ml_collections

# Updates that come to the same number of operations.
UPDATES = {"data2vec": 600, "mlm": 802, "data2vec2": 440}
SIZES = dict(vocab_size=2000, max_tokens=64, width=128, num_heads=4)
MASKS = dict(
  data2vec=dict(name="tokens", prob=0.35, length=2, random=0.0, keep=0.0),
  mlm=dict(name="tokens", prob=0.15, length=1, random=0.1, keep=0.1),
  data2vec2=dict(name="random_tokens", num_masks=8, ratio=0.48),
)
DECODER = dict(
  width=128,
  layers=2,
  kernel=9,
  groups=1,
  residual=False,
  projection_layers=2,
  initial="normal",
)


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
  c.batch_size = 8 if version_2 else 32
  c.log_every = 50
  c.checkpoint_every = steps
  c.modality = "text"

  table = dict(name="table", path="kjv.tsv.gz")
  c.data = dict(
    source=dict(**table, split="train"),
    tokenizer=dict(name="kjv"),
    packing="complete",
    buckets=dict(lengths=(64,)),
    mask=MASKS[name],
    num_threads=2,
  )
  c.encoder = (
    dict(name="visible_text", **SIZES, prenet_depth=1, depth=3)
    if version_2
    else dict(name="text", **SIZES, depth=4)
  )
  blocks = ("prenet", "blocks") if version_2 else ("blocks",)
  ema = dict(start=0.999, end=0.9998, anneal_steps=steps, tracked=blocks)
  targets = dict(output="ffn", top_k=3)
  c.objective = dict(
    data2vec=dict(
      targets=dict(**targets, layer_norms=("layer",)),
      loss_beta=4.0,
      loss_scale=1.0,
      ema=ema,
      head=dict(layers=2, initial="normal"),
    ),
    mlm=dict(head=dict(), max_selected=0.16),
    data2vec2=dict(
      targets=dict(**targets, layer_norms=("instance",)),
      loss_beta=0.0,
      loss_scale=1.0,
      ema=ema,
      decoder=DECODER,
    ),
  )[name]
  c.objective["name"] = name
  c.schedule = dict(name="cosine", peak=1e-3, warmup_steps=steps // 10)
  c.optimizer = dict(
    b2=0.98, eps=1e-6, weight_decay=0.01, clip_norm=5.0, no_decay=()
  )
  c.health = dict(start_step=steps // 2)

  c.evaluation = dict(
    every=-(-steps // 3),
    train=dict(**table, split="train", label="label"),
    test=dict(**table, split="test", label="label"),
    buckets=dict(lengths=(32, 64)),
    batch_size=256,
    evaluators=dict(linear_probe=dict(), knn=dict(), effective_rank=dict()),
  )
  return c
