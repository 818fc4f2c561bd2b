"""data2vec goes on from existing weights, on your own text.

  d2v train continue_text --workdir=RUN2 \\
    --config.init_from=RUN --config.data.source.path=TEXT

RUN is an import (data2vec, BERT, RoBERTa and what is made of them), or a run;
network and tokenizer are RUN's. TEXT is a .txt file, or a folder or glob of
them, as in text_files.py. The head is new unless RUN was of data2vec, too. All
that RUN learned by (objective, masks, head or decoder) goes on, from its
teacher, with `:source`. That is the way for data2vec 2.0, and for small runs of
your own:

  d2v train continue_text:source --workdir=RUN2 \\
    --config.init_from=RUN --config.data.source.path=TEXT

Networks of fewer than 6 layers: --config.objective.targets.top_k=3. Blocks of
another length, in tokens: --config.data.buckets.lengths="(256,)"

Source: the algorithm is text_base.py's. The rates are a twentieth of those from
scratch and smaller below, the teacher's decay is near those of the released
recipes, and a new head learns alone at first. These are guesses, not tuned.
"""

import ml_collections

from configs import text_files

OBJECTIVES = ("data2vec", "source")


def get_config(objective: str = "data2vec") -> ml_collections.ConfigDict:
  """More of data2vec, with a head of its own or all that RUN has."""
  if objective not in OBJECTIVES:
    raise ValueError(
      f"unknown {objective!r}; choose one of: {', '.join(OBJECTIVES)}"
    )
  c = text_files.get_config()
  c.init_from = ""
  c.total_steps = 5000
  c.data = dict(
    source=dict(name="lines", path="data/text"),
    packing="complete",
    buckets=dict(lengths=(128,)),
    num_threads=2,
  )
  c.encoder = dict()
  ema = dict(start=0.9998, end=0.9999, anneal_steps="100%")
  c.schedule = dict(name="cosine", peak=5e-5, warmup_steps="5%")
  c.optimizer = dict(
    b2=0.98,
    eps=1e-6,
    weight_decay=0.01,
    layer_decay=0.9,
    clip_norm=5.0,
    no_decay=(),
  )
  if objective == "source":
    c.init_model = "teacher"
    c.objective = dict(name="source", ema=ema)
  else:
    c.data.mask = dict(name="tokens", prob=0.35, length=2, random=0.0, keep=0.0)
    c.objective = dict(
      name="data2vec",
      targets=dict(output="ffn", top_k=6, layer_norms=("layer",)),
      loss_beta=4.0,
      loss_scale=1.0,
      head=dict(layers=2, initial="normal"),
      ema=dict(**ema, tracked=("blocks",)),
    )
    c.optimizer.freeze_steps = "5%"
  c.health = dict(start_step="10%")
  # Before and after are probes of their own.
  c.evaluation = dict(every=0)
  return c
