"""data2vec on signals: motion sensors, EEG, ECG, vibration; a small model.

  d2v train signals --workdir=RUN

As it is: BasicMotions of the UEA archive, six channels of a watch at 10 Hz,
which docs/signals.md says how to get. For recordings of your own set the
source, the encoder's rate and channels, and what is in seconds: its windows and
the mask's spans. mean and std are those of BasicMotions' training signals, as
its classes differ in strength; without them each recording is normalised by
itself.

Measured, seeds 0 to 2: linear probe 0.975, 1.000, 1.000 (untrained 1.000,
1.000, 0.975; simple numbers of each channel 0.975), 72 s of two shared CPU
cores without evaluations: experiments/signals. A check that signals work here:
so small a set shows no gain.

Source: the algorithm is speech_base.py's; sizes and rates are ours.
"""

import ml_collections

DATA = "aeon/datasets/data/BasicMotions/BasicMotions"


def get_config() -> ml_collections.ConfigDict:
  """A small model whose frames see 0.5 s, one every 0.2 s."""
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.total_steps = 600
  c.batch_size = 16
  c.log_every = 50
  c.checkpoint_every = 300
  c.modality = "signal"

  c.data = dict(
    source=dict(name="ts", path=f"{DATA}_TRAIN.ts", rate=10.0),
    mean=(2.55, -1.3, -1.03, 0.02, -0.02, -0.06),
    std=(7.07, 6.79, 3.55, 2.11, 1.82, 3.52),
    buckets=dict(lengths=(100,)),
    mask=dict(name="spans", prob=0.65, seconds=1.0),
    num_threads=2,
  )
  c.encoder = dict(
    name="signal",
    rate=10.0,
    channels=6,
    # (channels, seconds that an output sees, seconds from one to the next)
    windows=((64, 0.3, 0.1), (64, 0.5, 0.2)),
    width=96,
    depth=3,
    num_heads=4,
    position_depth=2,
    position_width=18,
    position_groups=8,
  )
  c.objective = dict(
    name="data2vec",
    targets=dict(output="ffn", top_k=3, layer_norms=("instance",)),
    loss_beta=0.0,
    loss_scale="rsqrt",
    head=dict(layers=1, initial="torch"),
    ema=dict(
      start=0.99, end=0.999, anneal_steps="100%", tracked=("norm", "blocks")
    ),
  )
  c.schedule = dict(
    name="tri_stage", peak=1e-3, warmup_steps="10%", hold_steps="66.7%"
  )
  c.optimizer = dict(
    b2=0.98, eps=1e-6, weight_decay=0.01, clip_norm=3.0, no_decay=()
  )
  c.health = dict(start_step="33.3%")

  c.evaluation = dict(
    every="25%",
    train=dict(name="ts", path=f"{DATA}_TRAIN.ts", rate=10.0),
    test=dict(name="ts", path=f"{DATA}_TEST.ts", rate=10.0),
    batch_size=40,
    evaluators=dict(linear_probe=dict(), knn=dict(), effective_rank=dict()),
  )
  return c
