"""CTC fine-tuning of a pretrained model of speech, on transcripts.

  d2v train finetune_speech --workdir=RUN2 \\
    --config.init_from=RUN --config.data.source.path=FILES.tsv \\
    --config.evaluation.test.path=FILES.tsv

FILES.tsv has the columns path, text and split (train, test). RUN is a run of
audio_folder.py, or any other, or an import; the network is RUN's. From scratch
with the network of audio_folder.py, all of which learns from the beginning, for
comparison: d2v train finetune_speech:scratch. Other characters than English
ones: --config.data.labels.characters, and as many outputs and one for the
blank: --config.objective.head.num_outputs. A wrong one is an error that shows
the string to set.

Source: data2vec (arXiv 2202.03555) section 4.2; the released recipes freeze the
convolutions, begin with the output layer alone, hide spans of frames and of
channels, and have tri-stage rates, as here. Sizes and rates are for small
models and short runs.
"""

import ml_collections

from configs import audio_folder

STARTS = ("pretrained", "scratch")


def get_config(start: str = "pretrained") -> ml_collections.ConfigDict:
  """Fine-tuning on utterances of up to four seconds, or from scratch."""
  if start not in STARTS:
    raise ValueError(f"unknown {start!r}; choose one of: {', '.join(STARTS)}")
  pretrained = start == "pretrained"
  c = audio_folder.get_config()
  c.init_from = ""
  c.total_steps = 1200
  c.data = dict(
    source=dict(name="manifest", path="files.tsv", split="train"),
    min_samples=2_000,
    buckets=dict(lengths=(16_000, 32_000, 64_000)),
    labels=dict(name="characters", max_length=96),
    mask=dict(name="spans", prob=0.3, length=5),
    channel_mask=dict(name="spans", prob=0.1, length=16, min_masks=0),
    num_threads=2,
  )
  if pretrained:
    c.encoder = dict(feature_grad_scale=0.0)
  c.encoder.activation_dropout = 0.1
  c.objective = dict(name="ctc", head=dict(num_outputs=29))
  c.schedule = dict(
    name="tri_stage",
    peak=1e-3,
    warmup_steps="10%",
    hold_steps="40%",
    final_scale=0.05,
  )
  c.optimizer = dict(b2=0.98, eps=1e-8, weight_decay=0.0, clip_norm=5.0)
  if pretrained:
    c.optimizer.freeze_steps = "8.3%"
  c.evaluation = dict(
    every="33.3%",
    test=dict(name="manifest", path="files.tsv", split="test"),
    # Error rates count whole utterances, also long ones.
    buckets=dict(lengths=(16_000, 32_000, 64_000, 256_000)),
    batch_size=64,
    evaluators=dict(wer=dict()),
  )
  return c
