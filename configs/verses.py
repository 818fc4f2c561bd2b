"""Verses: data2vec on 5,682 bundled verses of the Bible, on a CPU.

  d2v train verses --workdir=runs/verses

A check that text works here, not a benchmark: of 1,322 verses the group of
books (one of 7) is to be told. Expected, seed 0: linear probe 0.486 (untrained:
0.470), 20-NN 0.438 (0.415); the standard error is 0.014. TF-IDF with logistic
regression reaches 0.671. Two minutes are too short for text, see
experiments/bible for half an hour.

Cost: a minute and a half on two CPU cores, start and four evaluations included.

The algorithm is that of text_base.py; sizes, rates and the teacher's decay are
ours.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Returns the config."""
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.total_steps = 600
  c.batch_size = 32
  c.log_every = 50
  c.checkpoint_every = 300
  c.modality = "text"

  c.data = dict(
    source=dict(name="kjv", split="train"),
    tokenizer=dict(name="kjv"),
    packing="complete",
    buckets=dict(lengths=(64,)),
    mask=dict(name="tokens", prob=0.35, length=2, random=0.0, keep=0.0),
    num_threads=2,
  )
  c.encoder = dict(
    name="text",
    remat="dots",
    vocab_size=2000,
    max_tokens=64,
    width=128,
    depth=3,
    num_heads=4,
  )
  c.objective = dict(
    name="data2vec",
    targets=dict(output="ffn", top_k=3, layer_norms=("layer",)),
    loss_beta=4.0,
    loss_scale=1.0,
    head=dict(layers=2, initial="normal"),
    ema=dict(start=0.998, end=0.9998, anneal_steps="100%", tracked=("blocks",)),
  )
  c.schedule = dict(name="cosine", peak=2e-3, warmup_steps="10%")
  c.optimizer = dict(
    b2=0.98, eps=1e-6, weight_decay=0.01, clip_norm=5.0, no_decay=()
  )
  c.health = dict(start_step="33.3%")

  c.evaluation = dict(
    every="33.3%",
    train=dict(name="kjv", split="train"),
    test=dict(name="kjv", split="test"),
    batch_size=256,
    evaluators=dict(linear_probe=dict(), knn=dict(), effective_rank=dict()),
  )
  return c
