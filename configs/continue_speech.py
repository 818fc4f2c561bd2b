"""data2vec goes on from existing weights, on a folder of your own recordings.

  d2v train continue_speech --workdir=RUN2 \\
    --config.init_from=RUN --config.data.source.path=AUDIO

RUN is an import (data2vec, wav2vec 2.0, HuBERT), or a run; the network is
RUN's. AUDIO is a folder of recordings at any depth. The head is new unless RUN
was of data2vec, too. All that RUN learned by (objective, masks, head or
decoder) goes on, from its teacher, with `:source`. That is the way for data2vec
2.0, and for small runs of your own:

  d2v train continue_speech:source --workdir=RUN2 \\
    --config.init_from=RUN --config.data.source.path=AUDIO

Networks of fewer than 8 layers: --config.objective.targets.top_k=3. Lengths of
batches are --config.data.buckets.lengths, in samples at 16 kHz; what is longer
than the largest is cropped at random. `d2v manifest` suggests them.

Source: the algorithm is speech_base.py's. The rates are a tenth of those from
scratch and smaller below, the teacher's decay is near those of the released
recipes, and a new head learns alone at first. These are guesses, not tuned.
"""

import ml_collections

from configs import audio_folder

OBJECTIVES = ("data2vec", "source")


def get_config(objective: str = "data2vec") -> ml_collections.ConfigDict:
  """More of data2vec, with a head of its own or all that RUN has."""
  if objective not in OBJECTIVES:
    raise ValueError(
      f"unknown {objective!r}; choose one of: {', '.join(OBJECTIVES)}"
    )
  c = audio_folder.get_config()
  c.init_from = ""
  c.total_steps = 5000
  c.batch_size = 16
  c.data = dict(
    source=dict(name="folder", path="data/audio"),
    min_samples=8_000,
    buckets=dict(lengths=(80_000, 160_000, 240_000)),
    num_threads=4,
    max_corrupt=100,
  )
  c.encoder = dict()
  ema = dict(start=0.9998, end=0.9999, anneal_steps="100%")
  c.schedule = dict(name="cosine", peak=5e-5, warmup_steps="5%")
  c.optimizer = dict(
    b2=0.98,
    eps=1e-6,
    weight_decay=0.01,
    layer_decay=0.9,
    clip_norm=3.0,
    no_decay=(),
  )
  if objective == "source":
    c.init_model = "teacher"
    c.objective = dict(name="source", ema=ema)
  else:
    c.data.mask = dict(name="spans", prob=0.65, length=10)
    c.objective = dict(
      name="data2vec",
      targets=dict(output="ffn", top_k=8, layer_norms=("instance",)),
      loss_beta=0.0,
      loss_scale="rsqrt",
      head=dict(layers=1, initial="torch"),
      ema=dict(**ema, tracked=("norm", "blocks")),
    )
    c.optimizer.freeze_steps = "5%"
  c.health = dict(start_step="10%")
  # Before and after are probes of their own.
  c.evaluation = dict(every=0)
  return c
