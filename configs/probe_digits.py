"""Probes of what digits.py has learned: offline, in a minute on a CPU.

  d2v probe probe_digits --run=RUN --workdir=RUN2

Linear probes of teacher and student with five seeds, the probe's accuracy layer
by layer, and from few labels. Nothing of the network is trained.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Returns the config."""
  c = ml_collections.ConfigDict()
  c.init_from = ""
  c.encoder = dict()
  c.evaluation = dict(
    train=dict(name="digits", split="train"),
    test=dict(name="digits", split="test"),
    batch_size=500,
    evaluators=dict(
      linear_probe=dict(holdout=0.3, seeds=5),
      student_probe=dict(
        name="linear_probe",
        holdout=0.3,
        seeds=5,
        features=dict(model="student"),
      ),
      knn=dict(),
      layer_curve=dict(probe=dict(holdout=0.3)),
      low_shot=dict(per_class=(1, 5, 10), fractions=(0.1,)),
    ),
  )
  return c
