"""Probes of a pretrained speech model on labelled recordings.

  d2v probe probe_audio --run=RUN --workdir=RUN2 \\
    --config.evaluation.train.path=FILES.tsv \\
    --config.evaluation.test.path=FILES.tsv

FILES.tsv has the columns path, label and split (train, test). Recordings are
padded to the next of `buckets.lengths` (samples at 16 kHz) and cut at the last.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Linear probe, kNN, layer curve, low shot."""
  c = ml_collections.ConfigDict()
  c.init_from = ""
  c.encoder = dict()
  c.evaluation = dict(
    train=dict(name="manifest", path="files.tsv", split="train", label="label"),
    test=dict(name="manifest", path="files.tsv", split="test", label="label"),
    batch_size=64,
    buckets=dict(lengths=(16_000, 32_000, 64_000, 160_000)),
    evaluators=dict(
      linear_probe=dict(seeds=3),
      knn=dict(),
      layer_curve=dict(),
      low_shot=dict(per_class=(1, 5, 10)),
    ),
  )
  return c
