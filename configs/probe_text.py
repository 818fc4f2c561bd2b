"""Probes of a pretrained text model on a labelled table.

  d2v probe probe_text --run=RUN --workdir=RUN2 \\
    --config.evaluation.train.path=TABLE.tsv \\
    --config.evaluation.test.path=TABLE.tsv

TABLE.tsv has the columns text, label and split (train, test). The tokenizer is
RUN's. Longer texts than the last of `buckets.lengths`, in tokens, are cut.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Linear probe, kNN, layer curve, low shot."""
  c = ml_collections.ConfigDict()
  c.init_from = ""
  c.encoder = dict()
  c.evaluation = dict(
    train=dict(name="table", path="table.tsv", label="label", split="train"),
    test=dict(name="table", path="table.tsv", label="label", split="test"),
    batch_size=64,
    buckets=dict(lengths=(32, 64, 128)),
    evaluators=dict(
      linear_probe=dict(seeds=3),
      knn=dict(),
      layer_curve=dict(),
      low_shot=dict(per_class=(1, 5, 10)),
    ),
  )
  return c
