"""data2vec on a folder of your recordings, for as long as you have time.

  d2v train own_speech --workdir=RUN --config.data.source.path=RECORDINGS \\
    --config.minutes=30

RECORDINGS has audio files at any depth; labels are not used. What is "derived"
is chosen when the run begins, printed with its reason, and kept in
RUN/derived.json, from which the run goes on; any of it can be given, as in
--config.encoder.width=256, and then is not derived. The rules are in
d2v_jax/deriving/recordings.py:

  lengths of batches: up to three, with least padding; the longest holds 95 of
    100 recordings, and 10 s at most.
  frames: 50 a second as in audio_folder.py; 100 as in tones.py where half of
    the recordings are shorter than half a second.
  network: that of audio_folder.py; of tones.py for fewer than 1,000 recordings,
    or where the time is too short for 1,000 updates of the other.
  batch: 32 recordings, 16 of more than 4 s; fewer where an epoch would have
    fewer than 8 batches.
  length: the updates, timed on this machine, that `minutes` leave after start
    and evaluations; at most 800 epochs. The teacher's decay follows it.

Source: the algorithm is speech_base.py's.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """A small model of which the data and the time say the rest."""
  c = ml_collections.ConfigDict()
  c.minutes = 30.0
  c.seed = 0
  c.total_steps = "derived"
  c.batch_size = "derived"
  c.log_every = "1%"
  c.checkpoint_every = "10%"
  c.modality = "speech"

  c.data = dict(
    source=dict(name="folder", path="data/audio", labels=False),
    min_samples=2_000,
    buckets=dict(lengths="derived"),
    mask=dict(name="spans", prob=0.65, length="derived"),
    num_threads=2,
  )
  c.encoder = dict(
    name="speech",
    conv_layers="derived",
    width="derived",
    depth="derived",
    num_heads="derived",
    position_depth="derived",
    position_width="derived",
    position_groups="derived",
    dropout="derived",
  )
  c.objective = dict(
    name="data2vec",
    targets=dict(output="ffn", top_k="derived", layer_norms=("instance",)),
    loss_beta=0.0,
    loss_scale="rsqrt",
    head=dict(layers=1, initial="torch"),
    ema=dict(
      start="derived",
      end="derived",
      anneal_steps="100%",
      tracked=("norm", "blocks"),
    ),
  )
  c.schedule = dict(
    name="tri_stage", peak=1e-3, warmup_steps="10%", hold_steps="60%"
  )
  c.optimizer = dict(
    b2=0.98, eps=1e-6, weight_decay=0.01, clip_norm=3.0, no_decay=()
  )
  c.health = dict(start_step="33.3%")
  c.evaluation = dict(every="25%")
  return c
