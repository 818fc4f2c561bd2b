"""data2vec Base on text, RoBERTa's vocabulary, blocks of 512 tokens.

The paper's data are the BooksCorpus and English Wikipedia. Make the tokens once
(TOKENIZER: a folder with RoBERTa's or fairseq's files):

  d2v pack TOKENS --tokenizer=TOKENIZER \\
    --block_size=512 --rule=documents CORPUS.txt
  d2v train text_base --workdir=RUN \\
    --config.data.source.path=TOKENS --config.data.tokenizer.path=TOKENIZER

Source: data2vec (arXiv 2202.03555) section 4.3 and Table 4 (82.7 on GLUE; 82.9
with span masks), and the released config:

                    paper, main row  released config    here
  masks             BERT 15 %,       spans of 4, 35 %   spans of 4, 35 %
                    80/10/10         (paper's 2nd row)
  teacher's input   everything       masked tokens      everything
  blocks, batch     512, 256         16 x 8192 tokens   512, 256
  updates           1M               1M                 1M
  peak rate         2e-4             2e-4               2e-4
  schedule          tri-stage        cosine             cosine, warm-up 10k
                    5/80/15 %
  EMA decay         0.999 to 0.9999  the same           the same
    over            100k             300k               300k
  targets           FFN, K=10        layer norm, mean of the last 10
  loss              smooth L1, 4     sum over D         sum over D
  dropout           -                0.1, attention 0.1
  clip, decay       -                5.0, 0.01 on every parameter
  averaged          layers; embeddings and their norm shared

The released code gives the teacher only the masked tokens, at positions that
count them alone; --config.data.mask.teacher_sees=selected does so, too. The
paper's main row has
--config.data.mask="{'name': 'tokens', 'prob': 0.15, 'length': 1,
'random': 0.1, 'keep': 0.1}". Ours alone: the number of masked tokens is the
same in each block of a length.

Cost: 126,415,872 parameters (student with head).
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """The released recipe with the paper's teacher."""
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.total_steps = 1_000_000
  c.batch_size = 256
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
    packing="documents",
    buckets=dict(lengths=(128, 256, 384, 512)),
    mask=dict(name="tokens", prob=0.35, length=4, random=0.0, keep=0.0),
    num_threads=16,
    num_workers=0,
  )
  c.encoder = dict(
    name="text",
    remat="dots",
    vocab_size=50_265,
    max_tokens=512,
    width=768,
    depth=12,
    num_heads=12,
    dropout=0.1,
    attention_dropout=0.1,
  )
  c.objective = dict(
    name="data2vec",
    targets=dict(output="ffn", top_k=10, layer_norms=("layer",)),
    loss_beta=4.0,
    loss_scale=1.0,
    head=dict(layers=2, initial="normal"),
    ema=dict(
      start=0.999, end=0.9999, anneal_steps=300_000, tracked=("blocks",)
    ),
  )
  c.schedule = dict(name="cosine", peak=2e-4, warmup_steps=10_000)
  c.optimizer = dict(
    b1=0.9,
    b2=0.98,
    eps=1e-6,
    uncorrected_eps=True,
    weight_decay=0.01,
    clip_norm=5.0,
    no_decay=(),
  )
  c.health = dict(start_step=5000)
  c.evaluation = dict(every=0)
  return c
