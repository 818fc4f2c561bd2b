"""A run of seconds: a very small text model on the bundled verses."""

import ml_collections

from tests.configs import tiny


def get_config() -> ml_collections.ConfigDict:
  c = tiny.get_config()
  c.modality = "text"
  c.total_steps = 8
  c.data = dict(
    source=dict(name="kjv", split="test"),
    tokenizer=dict(name="kjv"),
    packing="documents",
    buckets=dict(lengths=(32, 64)),
    mask=dict(name="tokens", prob=0.3, random=0.1, keep=0.1),
    num_threads=2,
  )
  c.encoder = dict(
    name="text",
    vocab_size=2000,
    max_tokens=64,
    width=16,
    depth=2,
    num_heads=2,
    dropout=0.1,
  )
  c.objective.update(
    loss_beta=4.0,
    loss_scale=1.0,
    head=dict(layers=2, initial="normal"),
  )
  c.objective.targets.update(output="ffn", layer_norms=("layer",))
  c.objective.ema.tracked = ("blocks",)
  c.evaluation = dict(
    every=4,
    references=0,
    train=dict(name="kjv", split="test"),
    test=dict(name="kjv", split="test"),
    batch_size=512,
    evaluators=dict(knn=dict(), effective_rank=dict()),
  )
  return c
