"""data2vec on your own text.

  d2v tokenizer tokenizer.json TEXT --vocab_size=8000
  d2v train text_files --workdir=RUN \\
    --config.data.source.path=TEXT --config.data.tokenizer.path=tokenizer.json

TEXT is a .txt file, or a folder or glob of them: a sentence or paragraph a
line, an empty line between documents. Tables work too:

  --config.data.source="{'name': 'table', 'path': 'TEXT.tsv'}"

A vocabulary of another size: --config.encoder.vocab_size. A large corpus is
tokenised once by `d2v pack`, see docs/text.md.

Source: the algorithm is text_base.py's; sizes, rates and the teacher's decay
are for small models and short runs, see experiments/bible for what was
measured with them and what was tried.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """A small model on blocks of 128 tokens."""
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.total_steps = 4000
  c.batch_size = 32
  c.log_every = 50
  c.checkpoint_every = 500
  c.modality = "text"
  c.compute_dtype = "float32"

  c.data = dict(
    source=dict(name="lines", path="data/text"),
    tokenizer=dict(path="tokenizer.json"),
    packing="complete",
    buckets=dict(lengths=(128,)),
    mask=dict(name="tokens", prob=0.35, length=2, random=0.0, keep=0.0),
    num_threads=2,
  )
  c.encoder = dict(
    name="text",
    remat="dots",
    vocab_size=8000,
    max_tokens=128,
    width=192,
    depth=4,
    num_heads=6,
    dropout=0.1,
  )
  c.objective = dict(
    name="data2vec",
    targets=dict(output="ffn", top_k=3, layer_norms=("layer",)),
    loss_beta=4.0,
    loss_scale=1.0,
    head=dict(layers=2, initial="normal"),
    ema=dict(start=0.999, end=0.9999, anneal_steps="100%", tracked=("blocks",)),
  )
  c.schedule = dict(name="cosine", peak=1e-3, warmup_steps="5%")
  c.optimizer = dict(
    b2=0.98, eps=1e-6, weight_decay=0.01, clip_norm=5.0, no_decay=()
  )
  c.evaluation = dict(every=0)
  return c
