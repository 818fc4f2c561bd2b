"""Every shipped config builds, has its golden size, and trains a step."""

import itertools
import json
import pathlib

import jax
import numpy as np
import pytest
import soundfile
from tokenizers import pre_tokenizers

from d2v_jax import config_file
from d2v_jax.deriving import rules
from d2v_jax.training import build
from d2v_jax.training.compiled_run import CompiledRun

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"

# Parameters of the student with mask token and head, or with decoder.
PARAMETERS = {
  "vit_base": 86_256_720,
  "vit_large": 304_186_816,
  "vit_small": 21_747_240,
  "vit_base_d2v2": 88_233_216,
  "vit_large_d2v2": 309_067_776,
  "vit_huge_d2v2": 637_075_712,
  "digits": 345_408,
  "digits_d2v2": 361_440,
  "image_folder": 824_192,
  "own_images": 824_192,
  "own_speech": 2_115_904,
  "own_text": 3_488_832,
  "fashion_mnist": 818_176,
  "speech_base": 93_754_880,
  "speech_large": 314_326_016,
  "speech_base_d2v2": 93_783_308,
  "speech_large_d2v2": 315_184_144,
  "audio_folder": 2_115_904,
  "finetune_speech": 93_186_589,
  "audio_spectrogram": 409_056,
  "finetune_signals": 377_380,
  "signals": 386_112,
  "signals_d2v2": 398_404,
  "tones": 431_168,
  "tones_d2v2": 443_460,
  "text_base": 126_415_872,
  "text_base_d2v2": 152_961_792,
  "text_large_d2v2": 385_379_584,
  "text_files": 3_488_832,
  "finetune_librispeech": 93_186_589,
  "finetune_text": 124_650_247,
  "probe_attentive": 86_856_538,
  "finetune_imagenet": 86_435_128,
  "finetune_images": 85_673_818,
  "finetune_glue": 124_650_247,
  "verses": 925_440,
  "verses_d2v2": 1_220_864,
  "continue_images": 86_256_720,
  "refine_images": 86_854_480,
  "continue_speech": 93_754_880,
  "continue_text": 126_415_872,
}


# The others take one step in the slow tests.
QUICK = ("vit_base", "tones", "verses")

# Their sizes, and their length, follow the data and the machine.
DERIVED = {"own_images", "own_speech", "own_text"}

# They train nothing: the network is that of another run.
PROBES = {"probe_digits", "probe_images", "probe_audio", "probe_text"}

# Those of the runs that fine-tuning starts from.
NETWORKS = {"vision": "vit", "speech": "speech", "text": "text"}

# The data that come along, of each modality.
BUNDLED = {
  "vision": "digits",
  "speech": "tones",
  "spectrogram": "tones",
  "text": "kjv",
}


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory):
  """Tokenizers that serve models of 8,000 and 50,265 tokens."""
  folder = tmp_path_factory.mktemp("vocabularies")
  return {size: vocabulary(folder / str(size), size) for size in (8000, 50265)}


def vocabulary(folder, size):
  """RoBERTa's two files with made-up words: bytes, then pairs of letters."""
  folder.mkdir()
  alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
  words, merges = list(alphabet), []
  for parts in itertools.product(alphabet, repeat=2):
    if len(words) == size - 5:
      break
    merges.append(" ".join(parts))
    words.append("".join(parts))
  words = ["<s>", "<pad>", "</s>", "<unk>", *words, "<mask>"]
  ids = {word: i for i, word in enumerate(words)}
  (folder / "vocab.json").write_text(json.dumps(ids))
  (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
  return str(folder)


def load(name, vocabularies):
  """The config with bundled data instead of its own."""
  config = config_file.load(str(CONFIGS / f"{name}.py"))
  if name in DERIVED:
    config = rules.provisional(config)
  if config.modality == "signal":
    config.data.source = {"name": "arrays", "path": signals(vocabularies)}
    for split in ("train", "test"):
      if split in config.evaluation:
        config.evaluation[split] = config.data.source
  else:
    source = {"name": BUNDLED[config.modality], "split": "train"}
    config.data.source = source
    for split in ("train", "test"):
      if split in config.evaluation:
        config.evaluation[split] = {**source, "split": split}
  config.num_devices = 1
  if config.modality == "signal" and not config.encoder:
    config.encoder = config_file.load(str(CONFIGS / "signals.py")).encoder
  if "name" not in config.encoder:  # it is that of the run of init_from
    config.encoder.name = NETWORKS[config.modality]
  vocab_size = config.encoder.get("vocab_size", 50_265)
  if config.modality == "text" and vocab_size in vocabularies:
    config.data.tokenizer = {"path": vocabularies[vocab_size]}
  if name in ("finetune_text", "finetune_glue"):
    config.objective.head.num_outputs = 7
  if config.modality == "speech":
    # The bundled syllables are short, and have tones but no transcripts.
    config.data.min_samples = 2000
    config.data.buckets.lengths = (8000,)
    config.evaluation.buckets = {"lengths": (8000,)}
  if name in ("finetune_speech", "finetune_librispeech"):
    config.data.source = {"name": "manifest", "path": transcripts(vocabularies)}
    for split in config.evaluation:
      if split.startswith("test"):
        config.evaluation[split] = config.data.source
  return config


def signals(vocabularies):
  """Signals as long as those that do not come along."""
  path = pathlib.Path(vocabularies[8000]).parent / "signals.npz"
  values = np.random.default_rng(0).normal(size=(16, 100, 6))
  np.savez(path, signal=values, label=np.arange(16) % 4)
  return str(path)


def transcripts(vocabularies):
  """A table of three recordings with their words."""
  folder = pathlib.Path(vocabularies[8000]).parent
  table = folder / "files.tsv"
  noise = np.random.default_rng(0).normal(0, 0.1, (3, 8000))
  rows = ["path\ttext"]
  for i, x in enumerate(noise):
    soundfile.write(folder / f"{i}.flac", x, 16000)
    rows.append(f"{i}.flac\tone two")
  table.write_text("\n".join(rows) + "\n")
  return str(table)


def test_every_config_is_listed():
  listed = PARAMETERS.keys() | PROBES
  assert {p.stem for p in CONFIGS.glob("*.py")} == listed


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_number_of_parameters(name, vocabularies):
  run = build.from_config(load(name, vocabularies))
  shapes = jax.eval_shape(
    run.objective.init, jax.random.key(0), run.example_batch
  )
  count = sum(np.prod(s.shape) for s in jax.tree.leaves(shapes))
  assert count == PARAMETERS[name]


@pytest.mark.parametrize("name", sorted(PARAMETERS.keys() - DERIVED))
def test_top_level_fields(name):
  config = config_file.load(str(CONFIGS / f"{name}.py"))
  for field in ("seed", "total_steps", "checkpoint_every", "log_every"):
    assert isinstance(config[field], int)


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
    for name in sorted(PARAMETERS)
  ],
)
def test_one_step_at_reduced_width(name, vocabularies):
  config = load(name, vocabularies)
  config.batch_size = 2
  config.accumulate = 1
  config.compute_dtype = "float32"
  config.encoder.width = 16
  config.encoder.num_heads = 2
  config.encoder.depth = config.objective.get("targets", {}).get("top_k", 2)
  if config.encoder.get("prenet_depth"):
    config.encoder.prenet_depth = 1
  if "decoder" in config.objective:
    config.objective.decoder.update(width=16, groups=2, layers=2)
  if config.modality == "speech":
    config.encoder.conv_layers = ((8, 16, 8), (8, 10, 5), (8, 8, 8))
    config.encoder.position_groups = 2
    config.encoder.position_depth = 2
  if config.objective.get("mixing"):
    config.objective.mixing.group = 2
  config.data.num_threads = 1
  run = build.from_config(config)
  compiled = CompiledRun(run)
  batches = run.batches()
  try:
    state, metrics = compiled.step(
      compiled.init_state(), compiled.to_devices(next(batches))
    )
  finally:
    batches.close()
  assert state.step == 1
  assert all(np.isfinite(m) for m in jax.tree.leaves(metrics))


@pytest.mark.parametrize("name", PARAMETERS)
def test_health_is_watched(name):
  config = config_file.load(str(CONFIGS / f"{name}.py"))
  given = config.get("health", {})
  for field in ("min_target_std", "min_prediction_std", "min_spread"):
    assert given.get(field, 1) > 0
  assert given.get("every") != 0 and given.get("max_loss_ratio", 1)
