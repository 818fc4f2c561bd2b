"""data2vec Large on Libri-light, 60,000 hours.

  d2v manifest LIBRILIGHT libri_light.tsv
  d2v train speech_large --workdir=RUN \\
    --config.data.source.path=libri_light.tsv \\
    --config.evaluation.train.path=LibriSpeech \\
    --config.evaluation.test.path=LibriSpeech

LIBRILIGHT is a folder of files cut to at most 20 s or so, as Libri-light's own
scripts do; longer ones are cropped at random.

Source: data2vec (arXiv 2202.03555) section 4.2 and Table 2 (4.6 % WER on
test-other after fine-tuning on 100 hours, 4-gram). No config for pretraining
this size was ever published, and the paper gives nothing but the sizes: 24
layers, width 1024, the same feature encoder. The rest is speech_base.py's,
except for a lower rate and a batch of 2.7 hours, both of wav2vec 2.0 Large
(arXiv 2006.11477 section 4.2). Nobody has run it here.

Cost: 314,326,016 parameters. State and activations are sharded (fsdp) and the
activations recomputed in the backward pass.
"""

import ml_collections

from configs import speech_base


def get_config() -> ml_collections.ConfigDict:
  """The size of the paper, the recipe of Base."""
  c = speech_base.get_config()
  c.batch_size = 768
  c.sharding = "fsdp"
  c.data.source = dict(name="manifest", path="libri_light.tsv")
  c.encoder.update(width=1024, depth=24, num_heads=16)
  c.encoder.remat = "full"
  c.schedule.peak = 3e-4
  c.schedule.warmup_steps = 12_800  # 3.2 %, with the lower rate
  c.schedule.hold_steps = 359_200
  return c
