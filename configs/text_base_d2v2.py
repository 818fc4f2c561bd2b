"""data2vec 2.0 Base on text, RoBERTa's vocabulary, blocks of 512 tokens.

The data are the BooksCorpus and English Wikipedia. Make the tokens once
(TOKENIZER: a folder with RoBERTa's or fairseq's files):

  d2v pack TOKENS --tokenizer=TOKENIZER \\
    --block_size=512 --rule=none CORPUS.txt
  d2v train text_base_d2v2 --workdir=RUN \\
    --config.data.source.path=TOKENS --config.data.tokenizer.path=TOKENIZER

Source: data2vec 2.0 (arXiv 2212.07525) and its released config. The paper's
column has what others quote of its appendix. Where the two differ we follow the
config:

                     paper          config          here
  blocks             -              full ones, cut anywhere
  batch              -              16 x 4 blocks   64
  masks of a block   8              8               8
  masks              -              random, 48 %: 266 of 512 tokens are visible
  updates            -              1M              1M
  peak rate, warm-up -              2e-4, 4k        2e-4, 4k; cosine to 0
  EMA decay          -              0.9999 to 0.99999 over 100k updates
  averaged           -              layers; embeddings and their norm shared
  teacher's input    -              has the student's embedding dropout
                                                    has no dropout
  targets            instance norm, instance norm,  FFN of the 12 layers:
                     mean,          mean            instance norm, mean
                     layer norm
  loss               L2             squared error, sum over D
  dropout            -              0.1, attention 0.1
  clip, decay        -              1.0, 0.01 on every parameter

Cost: 152,961,792 parameters, of which 28,907,520 are the decoder's. Of a block
the teacher encodes 512 tokens and the student 8 x 266.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """The released recipe, with a teacher without dropout."""
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.total_steps = 1_000_000
  c.batch_size = 64
  c.accumulate = 1
  c.log_every = 100
  c.checkpoint_every = 2_000
  c.checkpoints = dict(keep_latest=2, keep_every=100_000)
  c.modality = "text"
  c.compute_dtype = "bfloat16"
  c.sharding = "replicated"

  c.data = dict(
    source=dict(name="tokens", path="data/tokens"),
    tokenizer=dict(path="data/tokenizer"),
    packing="none",
    buckets=dict(lengths=(512,)),
    mask=dict(name="random_tokens", num_masks=8, ratio=0.48),
    num_threads=16,
    num_workers=0,
  )
  c.encoder = dict(
    name="visible_text",
    remat="dots",
    vocab_size=50_265,
    max_tokens=512,
    width=768,
    prenet_depth=0,
    depth=12,
    num_heads=12,
    dropout=0.1,
    attention_dropout=0.1,
  )
  c.objective = dict(
    name="data2vec2",
    targets=dict(
      output="ffn",
      top_k=12,
      layer_norms=("instance",),
      average_norms=(),
    ),
    loss_beta=0.0,
    loss_scale=1.0,
    decoder=dict(
      width=768,
      layers=5,
      kernel=9,
      groups=1,
      residual=False,
      projection_layers=2,
      input_dropout=0.1,
      initial="normal",
    ),
    ema=dict(
      start=0.9999, end=0.99999, anneal_steps=100_000, tracked=("blocks",)
    ),
  )
  c.schedule = dict(name="cosine", peak=2e-4, warmup_steps=4_000)
  c.optimizer = dict(
    b1=0.9,
    b2=0.98,
    eps=1e-6,
    uncorrected_eps=True,
    weight_decay=0.01,
    clip_norm=1.0,
    no_decay=(),
  )
  c.health = dict(start_step=5000)
  c.evaluation = dict(every=0)
  return c
