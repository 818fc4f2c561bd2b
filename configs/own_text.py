"""data2vec on your own text, for as long as you have time.

  d2v train own_text --workdir=RUN --config.data.source.path=BOOKS \\
    --config.minutes=30

BOOKS is a text file, or a folder or glob of them; labels are not used. What is
"derived" is chosen when the run begins, printed with its reason, and kept in
RUN/derived.json, from which the run goes on; any of it can be given, as in
--config.encoder.width=256, and then is not derived. The rules are in
d2v_jax/deriving/texts.py:

  tokenizer: trained on the text, and kept in RUN; 8,000 tokens from 5,000,000
    characters on, 2,000 from 300,000 and 1,000 from 50,000.
  network, blocks, rate: those of text_files.py; of verses.py for fewer than
    2,000,000 characters, or where the time is too short for 1,000 updates of
    the other.
  batch: 32 blocks, fewer where an epoch would have fewer than 8 batches.
  length: the updates, timed on this machine, that `minutes` leave after start
    and evaluations; at most 800 epochs. The teacher's decay follows it.

Source: the algorithm is text_base.py's.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """A small model of which the text and the time say the rest."""
  c = ml_collections.ConfigDict()
  c.minutes = 30.0
  c.seed = 0
  c.total_steps = "derived"
  c.batch_size = "derived"
  c.log_every = "1%"
  c.checkpoint_every = "10%"
  c.modality = "text"

  c.data = dict(
    source=dict(name="lines", path="data/text"),
    tokenizer=dict(path="derived"),
    packing="complete",
    buckets=dict(lengths="derived"),
    mask=dict(name="tokens", prob=0.35, length=2, random=0.0, keep=0.0),
    num_threads=2,
  )
  c.encoder = dict(
    name="text",
    remat="dots",
    vocab_size="derived",
    max_tokens="derived",
    width="derived",
    depth="derived",
    num_heads="derived",
    dropout="derived",
  )
  c.objective = dict(
    name="data2vec",
    targets=dict(output="ffn", top_k="derived", layer_norms=("layer",)),
    loss_beta=4.0,
    loss_scale=1.0,
    head=dict(layers=2, initial="normal"),
    ema=dict(
      start="derived",
      end="derived",
      anneal_steps="100%",
      tracked=("blocks",),
    ),
  )
  c.schedule = dict(name="cosine", peak="derived", warmup_steps="10%")
  c.optimizer = dict(
    b2=0.98, eps=1e-6, weight_decay=0.01, clip_norm=5.0, no_decay=()
  )
  c.health = dict(start_step="33.3%")
  c.evaluation = dict(every="25%")
  return c
