"""data2vec 2.0 Large on Libri-light, 60,000 hours.

  d2v manifest LIBRILIGHT libri_light.tsv
  d2v train speech_large_d2v2 --workdir=RUN \\
    --config.data.source.path=libri_light.tsv \\
    --config.evaluation.train.path=LibriSpeech \\
    --config.evaluation.test.path=LibriSpeech

LIBRILIGHT is a folder of files cut to at most 20 s or so, as Libri-light's own
scripts do; longer ones are cropped at random.

Source and differences as in speech_base_d2v2.py, and:

                     paper          config          here
  layers             24             8 + 16          8 that targets leave out, 16
  audio an update    -              48 x 0.32M samples = 960 s
                                                    80 utterances, about 1000 s
  masks of each      -              12              12
  masks              inverse        blocks of 5     blocks of 5 frames, 55 %,
                     blocks, 55 %   frames, 55 %    adjusted by 0.1
  updates            -              600k            600k
  peak rate, warm-up -              4e-4, 10k       4e-4, 10k
  EMA decay          -              0.9997 to 1 over 300k updates; then the
                                    teacher stays
  targets            FFN of the last 16, instance norm, mean
  dropout            -              0.1, attention 0.1, no layer drop
  clipping           -              1               1

Cost: 315,184,144 parameters, of which 1,908,736 are the decoder's. State and
activations are sharded (fsdp) and the activations recomputed in the backward
pass.
"""

import ml_collections

from configs import speech_base_d2v2


def get_config() -> ml_collections.ConfigDict:
  """The released recipe."""
  c = speech_base_d2v2.get_config()
  c.total_steps = 600_000
  c.batch_size = 80
  c.sharding = "fsdp"
  c.data.source = dict(name="manifest", path="libri_light.tsv")
  c.data.mask.update(num_masks=12, ratio=0.55, adjust=0.1)
  c.encoder.update(
    width=1024, prenet_depth=8, depth=16, num_heads=16, layer_drop=0.0
  )
  c.encoder.remat = "full"
  c.objective.targets.top_k = 16
  c.objective.decoder.width = 768
  c.objective.ema.update(start=0.9997, end=1.0, anneal_steps=300_000)
  c.objective.ema.tracked = (
    "positions",
    "alibi_scale",
    "prenet_norm",
    "prenet",
    "blocks",
  )
  c.schedule.update(peak=4e-4, warmup_steps=10_000)
  c.optimizer.clip_norm = 1.0
  return c
