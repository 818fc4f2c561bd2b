"""data2vec on your own recordings; written for short utterances.

  d2v train audio_folder --workdir=RUN \\
    --config.data.source.path=AUDIO --config.evaluation.evaluators=None

AUDIO is a folder of wav, flac, ogg, opus or mp3 files at any depth. A table of
files with labels, speakers and splits works too, and starts faster as its
lengths need not be looked up (`d2v manifest AUDIO FILES.tsv` writes one, to
which you can add columns):

  --config.data.source="{'name': 'manifest', 'path': 'FILES.tsv'}"

Labels are used by the evaluators only. Longer recordings: set
--config.data.buckets.lengths, in samples at 16 kHz; what is longer than the
largest is cropped at random.

Source: the algorithm is speech_base.py's; sizes, rates and the teacher's decay
are for small models and short runs, see experiments/spoken_digits for what was
measured with them and what was tried.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """A small model with the usual 50 frames a second."""
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.total_steps = 2000
  c.batch_size = 32
  c.log_every = 50
  c.checkpoint_every = 500
  c.modality = "speech"
  c.compute_dtype = "float32"

  c.data = dict(
    source=dict(name="folder", path="data/audio"),
    min_samples=2_000,
    buckets=dict(lengths=(8_000, 16_000, 32_000)),
    mask=dict(name="spans", prob=0.65, length=5),
    num_threads=2,
    max_corrupt=100,
  )
  c.encoder = dict(
    name="speech",
    # Longer strides at first than wav2vec 2.0: half of the cost.
    conv_layers=((64, 16, 8), (96, 10, 5), *((128, 4, 2),) * 2, (128, 2, 2)),
    width=192,
    depth=4,
    num_heads=6,
    position_depth=3,
    position_width=27,
    position_groups=16,
    dropout=0.1,
  )
  c.objective = dict(
    name="data2vec",
    targets=dict(output="ffn", top_k=3, layer_norms=("instance",)),
    loss_beta=0.0,
    loss_scale="rsqrt",
    head=dict(layers=1, initial="torch"),
    ema=dict(
      start=0.999, end=0.9998, anneal_steps="100%", tracked=("norm", "blocks")
    ),
  )
  c.schedule = dict(
    name="tri_stage", peak=1e-3, warmup_steps="10%", hold_steps="60%"
  )
  c.optimizer = dict(
    b2=0.98, eps=1e-6, weight_decay=0.01, clip_norm=3.0, no_decay=()
  )

  c.evaluation = dict(
    every="25%",
    train=dict(name="folder", path="data/audio/train", labels=True),
    test=dict(name="folder", path="data/audio/test", labels=True),
    batch_size=128,
    # Which is best depends on the data; held-out training examples say.
    evaluators=dict(
      linear_probe=dict(
        features=dict(pool=("mean", "mean_std", "segments:4", "segments:8"))
      ),
      knn=dict(
        features=dict(pool=("mean", "mean_std", "segments:4", "segments:8"))
      ),
      effective_rank=dict(),
      position_share=dict(),
    ),
  )
  return c
