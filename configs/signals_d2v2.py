"""Signals with data2vec 2.0: the data of configs/signals.py.

  d2v train signals_d2v2 --workdir=RUN

Measured, seeds 0 to 2: linear probe 1.000 each (untrained 1.000, 1.000, 0.975),
20-NN 0.925, 0.950, 0.925 (1.000 each), in 295 s of two shared CPU cores without
evaluations: experiments/signals.

The algorithm is that of speech_base_d2v2.py; sizes and rates are ours.
"""

import ml_collections

from configs import signals


def get_config() -> ml_collections.ConfigDict:
  """One layer below the targets and two above, four masks of a signal."""
  c = signals.get_config()
  c.data.mask = dict(
    name="frame_blocks", num_masks=4, ratio=0.5, adjust=0.05, seconds=0.8
  )
  c.encoder.name = "visible_signal"
  c.encoder.prenet_depth = 1
  c.encoder.depth = 2
  c.objective = dict(
    name="data2vec2",
    targets=dict(output="ffn", top_k=2, layer_norms=("instance",)),
    loss_beta=0.0,
    loss_scale="rsqrt",
    decoder=dict(width=96, layers=3, kernel=7, groups=16),
    ema=dict(
      start=0.99,
      end=0.999,
      anneal_steps="100%",
      tracked=("positions", "alibi_scale", "prenet_norm", "prenet", "blocks"),
    ),
  )
  c.schedule = dict(name="cosine", peak=1e-3, warmup_steps="10%")
  return c
