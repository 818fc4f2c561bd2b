"""A run of seconds: a very small model of signals, made up by the test."""

import ml_collections

from tests.configs import tiny_speech


def get_config() -> ml_collections.ConfigDict:
  c = tiny_speech.get_config()
  c.modality = "signal"
  c.data = dict(
    source=dict(name="arrays", path="signals.npz"),
    buckets=dict(lengths=(24, 40)),
    mask=dict(name="spans", prob=0.65, seconds=0.6),
    num_threads=2,
  )
  c.encoder.name = "signal"
  del c.encoder.conv_layers
  c.encoder.rate = 10.0
  c.encoder.channels = 3
  c.encoder.windows = ((8, 0.3, 0.1), (8, 0.5, 0.2))
  c.evaluation.train = dict(name="arrays", path="signals.npz")
  c.evaluation.test = dict(name="arrays", path="signals.npz")
  return c
