"""Probes of a pretrained image model on a folder with class folders.

  d2v probe probe_images --run=RUN --workdir=RUN2 \\
    --config.evaluation.train.path=IMAGES/train \\
    --config.evaluation.test.path=IMAGES/test

RUN is a run or an import. The network, its size included, is RUN's; another
input size is --config.encoder.image_size=S (positions are interpolated). Every
evaluator can be taken out, e.g. --config.evaluation.evaluators.low_shot=None,
and has its choice of features, e.g.
--config.evaluation.evaluators.linear_probe.features="{'model': 'student'}".

Images are resized as RUN says; --config.data="{'resize_ratio': 1.143}" takes
the middle of photographs, 224 of 256, and None resizes the image as a whole.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Linear probe, kNN, layer curve, low shot."""
  c = ml_collections.ConfigDict()
  c.init_from = ""
  c.encoder = dict()
  c.evaluation = dict(
    train=dict(name="folder", path="data/images/train", labels=True),
    test=dict(name="folder", path="data/images/test", labels=True),
    batch_size=256,
    evaluators=dict(
      linear_probe=dict(seeds=3),
      knn=dict(),
      layer_curve=dict(),
      low_shot=dict(per_class=(1, 5, 10), fractions=(0.01, 0.1)),
    ),
  )
  return c
