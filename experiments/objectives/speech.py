"""The objectives on bundled syllables: same data, encoder, compute and probe.

  d2v train experiments/objectives/speech.py:logmel \\
    --workdir=runs/speech/logmel-0 --config.seed=0

After the colon is one of: data2vec, logmel, data2vec2. Data, sizes, rates and
decays are those of configs/tones.py and configs/tones_d2v2.py: encoders have
three layers of width 96 on 100 frames a second; that of data2vec2 is of version
2, whose first layer is below the targets.
"""

import ml_collections

from configs import tones, tones_d2v2

# Updates that come to the same number of operations.
UPDATES = {"data2vec": 600, "logmel": 690, "data2vec2": 482}


def get_config(name: str) -> ml_collections.ConfigDict:
  """Returns the config of one objective."""
  if name not in UPDATES:
    raise ValueError(
      f"unknown objective {name!r}; choose one of: {', '.join(UPDATES)}."
    )
  steps = UPDATES[name]
  c = (tones_d2v2 if name == "data2vec2" else tones).get_config()
  c.total_steps = c.checkpoint_every = steps
  if name == "logmel":
    # Log-mel frames are normalised over the utterance already.
    c.objective = dict(
      name="pixels", head=dict(num_outputs=80), norm_targets=False
    )
  # All that is learned is compared, also where targets come close together.
  c.health = dict(start_step="100%")
  c.evaluation.every = "33.4%"
  return c
