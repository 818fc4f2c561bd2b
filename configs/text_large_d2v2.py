"""data2vec 2.0 Large on text, RoBERTa's vocabulary, blocks of 512 tokens.

  d2v train text_large_d2v2 --workdir=RUN \\
    --config.data.source.path=TOKENS --config.data.tokenizer.path=TOKENIZER

TOKENS and TOKENIZER are those of text_base_d2v2.py; so are source and
differences, and:

                     paper          config          here
  batch              -              32 x 2 blocks   64
  masks              -              random, 50 %: 256 of 512 tokens are visible
  updates            -              600k            600k
  peak rate          -              1e-4            1e-4
  targets            instance norm, layer norm,     FFN of the 24 layers: layer
                     mean,          mean, instance  norm, mean, instance norm
                     layer norm     norm

A second released config has 1M updates and smooth L1 with beta 4:
--config.total_steps=1000000 --config.objective.loss_beta=4.0.

Cost: 385,379,584 parameters, of which 31,070,464 are the decoder's. State and
activations are sharded (fsdp) and the activations recomputed in the backward
pass.
"""

import ml_collections

from configs import text_base_d2v2


def get_config() -> ml_collections.ConfigDict:
  """The released recipe, with a teacher without dropout."""
  c = text_base_d2v2.get_config()
  c.total_steps = 600_000
  c.sharding = "fsdp"
  c.data.mask.ratio = 0.5
  c.encoder.update(width=1024, depth=24, num_heads=16)
  c.encoder.remat = "full"
  c.objective.targets.update(
    top_k=24, layer_norms=("layer",), average_norms=("instance",)
  )
  c.schedule.peak = 1e-4
  return c
