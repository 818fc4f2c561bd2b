"""Fine-tuning on classes of a model pretrained by signals.py.

  d2v train finetune_signals --workdir=RUN2 --config.init_from=RUN

As it is, on the four activities of BasicMotions, see signals.py. The network,
and by what channels are normalised, are those of the run it starts from.

Source: data2vec (arXiv 2202.03555) fine-tunes the whole network with a new
head; sizes and rates are ours, and were not tuned.
"""

import ml_collections

from configs import signals


def get_config() -> ml_collections.ConfigDict:
  """The head alone at first, then all."""
  c = signals.get_config()
  c.init_from = ""
  c.total_steps = 300
  c.data = dict(
    source=c.data.source,
    buckets=c.data.buckets,
    labels=dict(name="label"),
    num_threads=2,
  )
  c.encoder = dict()
  c.objective = dict(name="classification", head=dict(num_outputs=4, norm=True))
  c.schedule = dict(name="cosine", peak=3e-4, warmup_steps="10%")
  c.optimizer = dict(weight_decay=0.01, clip_norm=3.0, freeze_steps="10%")
  c.evaluation = dict(
    every="33.3%",
    test=c.evaluation.test,
    batch_size=40,
    evaluators=dict(classification=dict()),
  )
  return c
