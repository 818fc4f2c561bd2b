"""data2vec 2.0 Base on LibriSpeech, 960 hours.

  d2v train speech_base_d2v2 --workdir=RUN \\
    --config.data.source.path=LibriSpeech \\
    --config.evaluation.train.path=LibriSpeech \\
    --config.evaluation.test.path=LibriSpeech

LibriSpeech is the folder as downloaded, as in speech_base.py.

Source: data2vec 2.0 (arXiv 2212.07525) and its released config. The paper's
column has what others quote of its appendix. Where the two differ we follow the
config:

                     paper          config          here
  audio an update    -              8 x 1.0M samples = 500 s
                                                    40 utterances, about 490 s
  crop               -              <= 20 s, to the shortest of a batch
                                                    <= 20 s, padded to a bucket
  masks of each      8              8               8
  masks              inverse        blocks of 5     blocks of 5 frames, 50 %,
                     blocks, 50 %   frames, 50 %    adjusted by 0.05, drawn
                                                    after cropping: always
                                                    exactly half of the frames
  updates            -              400k            400k
  peak rate, warm-up -              7.5e-4, 8k      7.5e-4, 8k; cosine to 0
  EMA decay          0.999 to 0.99999 over 75k updates
  averaged           -              everything but decoder, convolutions and
                                    their projection
  targets            FFN of the last 8, instance norm, mean
  loss               L2             squared error, sum over D / sqrt(D)
  dropout            -              0.1, attention 0.1, layer drop 0.05
  weight decay       -              0.01 on every parameter
  clipping           -              none            none

The config draws masks before it crops, so that its rows hide different numbers
of frames while all encode as many as the first.

Cost: 93,783,308 parameters, of which 619,776 are the decoder's. Of N frames the
teacher encodes N and the student 8 x N / 2.
"""

import ml_collections

TRAIN = ("train-clean-100", "train-clean-360", "train-other-500")


def get_config() -> ml_collections.ConfigDict:
  """The released recipe."""
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.total_steps = 400_000
  c.batch_size = 40
  c.accumulate = 1
  c.log_every = 100
  c.checkpoint_every = 2_000
  c.checkpoints = dict(keep_latest=2, keep_every=100_000)
  c.modality = "speech"
  c.compute_dtype = "bfloat16"
  c.sharding = "replicated"

  c.data = dict(
    source=dict(name="librispeech", path="data/LibriSpeech", subsets=TRAIN),
    min_samples=32_000,
    buckets=dict(lengths=(160_000, 208_000, 240_000, 256_000, 320_000)),
    mask=dict(
      name="frame_blocks", num_masks=8, ratio=0.5, adjust=0.05, length=5
    ),
    num_threads=64,
    num_workers=0,
  )
  c.encoder = dict(
    name="visible_speech",
    remat="dots",
    width=768,
    prenet_depth=0,
    depth=12,
    num_heads=12,
    dropout=0.1,
    attention_dropout=0.1,
    layer_drop=0.05,
  )
  c.objective = dict(
    name="data2vec2",
    targets=dict(output="ffn", top_k=8, layer_norms=("instance",)),
    loss_beta=0.0,
    loss_scale="rsqrt",
    decoder=dict(width=384, layers=4, kernel=7, groups=16, input_dropout=0.1),
    ema=dict(
      start=0.999,
      end=0.99999,
      anneal_steps=75_000,
      tracked=("positions", "alibi_scale", "prenet_norm", "blocks"),
    ),
  )
  c.schedule = dict(name="cosine", peak=7.5e-4, warmup_steps=8_000)
  c.optimizer = dict(
    b1=0.9,
    b2=0.98,
    eps=1e-6,
    uncorrected_eps=True,
    weight_decay=0.01,
    no_decay=(),
  )
  c.health = dict(start_step=5000)

  c.evaluation = dict(
    every=20_000,
    train=dict(
      name="librispeech", path="data/LibriSpeech", subsets=("dev-clean",)
    ),
    test=dict(
      name="librispeech", path="data/LibriSpeech", subsets=("dev-other",)
    ),
    buckets=dict(lengths=(80_000, 160_000, 320_000)),
    batch_size=64,
    # No labels come with it that a probe could use.
    evaluators=dict(effective_rank=dict()),
  )
  return c
