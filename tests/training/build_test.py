"""Every field of every shipped config: misspelt, and of another type."""

import copy
import json
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from d2v_jax import config as config_lib
from d2v_jax import config_file, probe
from d2v_jax.config import ConfigError
from d2v_jax.deriving import marks, rules
from d2v_jax.training import build

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"

# The run that a config starts from, which gives it its network.
STARTS_FROM = {
  "continue_images": "vit_base",
  "continue_speech": "speech_base",
  "continue_text": "text_base",
  "finetune_imagenet": "vit_base",
  "finetune_images": "vit_base",
  "probe_attentive": "vit_base",
  "refine_images": "vit_base",
  "finetune_librispeech": "speech_base",
  "finetune_speech": "audio_folder",
  "finetune_signals": "signals",
  "finetune_text": "text_files",
  "finetune_glue": "text_base",
  "probe_digits": "digits",
  "probe_images": "image_folder",
  "probe_audio": "audio_folder",
  "probe_text": "text_files",
}
# Sections whose keys are the user's own: columns of a table.
OWN_KEYS = ("only", "exclude")


@pytest.fixture
def load(tmp_path):
  """Name -> a shipped config as nested dicts, with a run to start from."""

  def load(name):
    loaded = config_file.load(str(CONFIGS / f"{name}.py"))
    if marks.is_open(loaded):
      loaded = rules.provisional(loaded)
    config = config_lib.plain(loaded)
    if name in STARTS_FROM:
      run = config_lib.plain(config_file.load(STARTS_FROM[name]))
      (tmp_path / "run.json").write_text(json.dumps({"config": run}))
      config["init_from"] = str(tmp_path)
    return {**config, "num_devices": 1}

  return load


def plan(config):
  """What can be told before data and weights are read."""
  if probe.is_probe(config):
    return probe.plan(config)
  return build.plan(config)


def sections(node, path="config"):
  """(path, dict) of a config and of all that is in it."""
  yield path, node
  for key, value in node.items():
    if isinstance(value, dict) and key not in OWN_KEYS:
      yield from sections(value, f"{path}.{key}")


def at(config, path):
  for key in path.split(".")[1:]:
    config = config[key]
  return config


def names():
  return sorted(p.stem for p in CONFIGS.glob("*.py"))


@pytest.mark.parametrize("name", names())
def test_no_data_are_needed(name, load):
  plan(load(name))


@pytest.mark.parametrize(
  ("name", "source"),
  [
    ("continue_images", "digits"),
    ("continue_images", "digits_d2v2"),
    ("continue_speech", "tones"),
    ("continue_speech", "tones_d2v2"),
    ("continue_text", "verses"),
    ("continue_text", "verses_d2v2"),
  ],
)
def test_all_that_a_run_learned_by_goes_on(name, source, tmp_path):
  run = config_lib.plain(config_file.load(source))
  (tmp_path / "run.json").write_text(json.dumps({"config": run}))
  config = config_file.load(f"{name}:source")
  config.init_from, config.num_devices = str(tmp_path), 1
  made = build.plan(config)
  learned, before = made.objective, build.plan({**run, "num_devices": 1})
  assert learned.targets == before.objective.targets
  assert learned.ema.tracked == before.objective.ema.tracked
  assert (learned.ema.start, learned.ema.end) == (0.9998, 0.9999)
  assert learned.ema.anneal_steps == made.total_steps == 5000
  assert made.dataset.mask == before.dataset.mask
  assert made.init_model == "teacher"


@pytest.mark.parametrize("name", names())
def test_a_misspelt_field_is_named_with_its_path_and_the_right_one(name, load):
  config = load(name)
  for path, section in sections(config):
    for key in section:
      named = isinstance(section[key], dict) and "name" in section[key]
      if re.fullmatch(r"test_\w+", key) or (
        path == "config.evaluation.evaluators" and named
      ):
        continue  # a split and a named evaluator may be called anything
      changed = copy.deepcopy(config)
      node = at(changed, path)
      node[f"{key}x"] = node.pop(key)
      hint = rf"{re.escape(path)}\.{key}x: .*did you mean '{key}'"
      with pytest.raises(ConfigError, match=hint) as error:
        plan(changed)
      choices = str(error.value).partition("choose from: ")[2]
      assert key in re.split(r"[ ,.]+", choices), error.value


@pytest.mark.parametrize("name", names())
def test_a_value_of_another_type_is_named_with_its_path(name, load):
  config = load(name)
  for path, section in sections(config):
    for key, value in section.items():
      if (path, key) == ("config", "init_from"):
        continue  # read before the rest, as it completes it
      changed = copy.deepcopy(config)
      at(changed, path)[key] = 3 if isinstance(value, dict) else {"no": "field"}
      where = re.escape(f"{path}.{key}")
      with pytest.raises(ConfigError, match=rf"^{where}[.:]"):
        plan(changed)


@pytest.mark.parametrize(
  ("name", "field", "value"),
  [
    ("digits", "seed", 10**20),
    ("digits", "seed", -1),
    ("digits", "total_steps", 0),
    ("digits", "batch_size", 0),
    ("digits", "accumulate", -1),
    ("digits", "log_every", 0),
    ("digits", "checkpoint_every", 0),
    ("digits", "num_devices", 0),
    ("digits", "encoder.image_size", -8),
    ("digits", "encoder.patch_size", 0),
    ("digits", "encoder.num_heads", 0),
    ("digits", "encoder.width", 0),
    ("digits", "encoder.depth", -1),
    ("digits", "encoder.mlp_ratio", 0.0),
    ("digits", "encoder.norm_eps", 0.0),
    ("digits", "encoder.drop_path", 1.5),
    ("digits_d2v2", "encoder.prenet_depth", -1),
    ("tones", "encoder.conv_layers", ((8, 0, 1),)),
    ("tones", "encoder.position_groups", 0),
    ("verses", "encoder.vocab_size", 0),
    ("verses", "encoder.max_tokens", 0),
    ("digits", "objective.targets.top_k", 0),
    ("digits", "objective.loss_beta", -1.0),
    ("digits", "objective.head.layers", -1),
    ("digits", "objective.ema.end", 1.5),
    ("digits_d2v2", "objective.decoder.kernel", 0),
    ("digits", "optimizer.b1", 1.0),
    ("digits", "optimizer.weight_decay", -1.0),
    ("digits", "schedule.peak", -1.0),
    ("digits", "schedule.warmup_steps", -5),
    ("digits", "health.patience", 0),
    ("digits", "checkpoints.keep_latest", 0),
    ("digits", "data.channels", 0),
    ("digits", "data.num_threads", 100_000),
    ("digits", "data.num_threads", 0),
    ("digits", "data.num_workers", 5_000),
    ("digits", "data.max_corrupt", -1),
    ("digits", "data.augment.flip", 2.0),
    ("digits", "data.mask.num_masked", 99),
    ("verses", "data.mask.prob", 2.0),
    ("tones", "data.buckets.lengths", (-4, 8)),
    ("tones", "data.min_samples", -1),
    ("digits", "evaluation.every", -1),
    ("digits", "evaluation.batch_size", 0),
    ("digits", "evaluation.evaluators.knn.k", 0),
    ("digits", "evaluation.evaluators.linear_probe.steps", 0),
    ("digits", "evaluation.evaluators.linear_probe.seed", -1),
  ],
)
def test_a_value_outside_its_range_is_named(name, field, value, load):
  config = load(name)
  *path, key = field.split(".")
  node = config
  for section in path:
    node = node.setdefault(section, {})
  node[key] = value
  with pytest.raises(ConfigError) as error:
    plan(config)
  # The path of its section, then the field.
  where = ".".join(["config", *path])
  pattern = rf"{re.escape(where)}\b.*\b{key}\b"
  assert re.match(pattern, str(error.value), re.DOTALL)


@pytest.mark.parametrize("frozen", [False, True])
def test_weight_decay_moves_nothing_that_is_frozen(frozen, load):
  config = load("probe_attentive")
  config["objective"]["frozen"] = frozen
  config["schedule"] = {"name": "constant", "peak": 0.1}
  config["optimizer"] = {"weight_decay": 0.5}
  tx = plan(config).tx
  params = {
    name: {"kernel": jnp.ones((2, 2))} for name in ("patch_embed", "head")
  }
  none = jax.tree.map(jnp.zeros_like, params)  # what a frozen one's gradient is
  state = tx.init(params)
  for step in (0, config["total_steps"] - 1):
    state = optax.tree.set(state, count=jnp.int32(step))
    updates, state = tx.update(none, state, params)
    moved = {
      name: bool(np.any(tree["kernel"])) for name, tree in updates.items()
    }
    assert moved == {"patch_embed": not frozen, "head": True}
