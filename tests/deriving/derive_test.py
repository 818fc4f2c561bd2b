"""Whole configs, derived from small data."""

import json
import pathlib

import cv2
import numpy as np
import pytest

import d2v_jax
from d2v_jax import commands, config_file
from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError
from d2v_jax.deriving import derive, marks, rules, run_length
from d2v_jax.training import build
from tests import runs


def write_images(folder, count, side=8):
  folder.mkdir(parents=True)
  rng = np.random.default_rng(0)
  for i in range(count):
    pixels = rng.integers(0, 256, (side, side + 2, 3)).astype(np.uint8)
    cv2.imwrite(str(folder / f"{i}.png"), pixels)
  return folder


def own(name="own_images", **values):
  config = config_file.load(name)
  for path, value in values.items():
    config_file.override(config, path.replace("__", "."), str(value))
  return config


@pytest.fixture
def cost(monkeypatch):
  """Answers in place of a clock: width -> seconds of an update."""
  seconds = {96: 0.01}

  def measured(run, say):
    width = run.config["encoder"]["width"]
    return run_length.Timing(start=1.0, update=seconds[width])

  monkeypatch.setattr(derive.cost, "measured", measured)
  return seconds


def said(lines):
  return "\n".join(lines)


class TestForRun:
  def test_a_folder_of_images(self, tmp_path, cost):
    images = write_images(tmp_path / "photos", 40)
    config = own(data__source__path=images, minutes=1, num_devices=1)
    lines = []
    made = derive.for_run(config, tmp_path, say=lines.append)
    assert (made.encoder.image_size, made.encoder.patch_size) == (8, 2)
    assert made.encoder.width == 96 and made.batch_size == 4
    # At most what a minute less the start holds, but nearly all of it.
    assert 2_000 < made.total_steps <= 59 * 0.95 / 0.01
    assert made.objective.ema.end == 0.9995
    assert "minutes" not in made
    build.plan(made)
    for path in ("encoder.width=96", "batch_size=4", "total_steps="):
      assert f"--config.{path}" in said(lines)

    # A run that goes on derives nothing anew, whatever the images are now.
    cost.clear()
    write_images(tmp_path / "photos/more", 5, side=32)
    again = derive.for_run(config, tmp_path, say=lines.append)
    assert again.to_json() == made.to_json()
    with pytest.raises(ConfigError, match=r"got 2, but .* was made for 1"):
      longer = own(data__source__path=images, minutes=2)
      derive.for_run(longer, tmp_path)

  def test_what_is_given_is_kept(self, tmp_path, cost):
    cost.clear()  # with a length nothing is timed
    images = write_images(tmp_path / "photos", 8)
    config = own(
      data__source__path=images,
      total_steps=7,
      batch_size=2,
      encoder__width=20,
      encoder__image_size=16,
      num_devices=1,
    )
    made = derive.for_run(config, tmp_path, say=lambda line: None)
    assert (made.total_steps, made.batch_size) == (7, 2)
    assert (made.encoder.width, made.encoder.image_size) == (20, 16)
    assert made.encoder.patch_size == 2
    record = json.loads((tmp_path / derive.FILE).read_text())
    assert "encoder.width" not in record["values"]
    build.from_config(made)

  def test_a_smaller_network_where_time_is_short(self, tmp_path, cost):
    cost[128] = 1.0
    pixels = np.random.default_rng(0).integers(0, 256, (5_000, 8, 8, 3))
    config = own(minutes=2, num_devices=1)
    config.data.source = {"name": "given", "split": "source"}
    given = {"source": {"image": pixels.astype(np.uint8)}}
    lines = []
    made = derive.for_run(config, tmp_path, given, lines.append)
    assert made.encoder.width == 96
    assert "takes 1 s" in said(lines) and "a smaller network" in said(lines)
    # None is tried that could not start any more.
    del cost[96]
    config.minutes = 0.03
    (tmp_path / "short").mkdir()
    with pytest.raises(ConfigError, match=r"got 0\.03, too few"):
      derive.for_run(config, tmp_path / "short", given, lines.append)

  @pytest.mark.parametrize(
    ("count", "values", "message"),
    [
      (0, {}, "no images in"),
      (3, {}, "got 3 examples that can be used, too few"),
      (40, {"minutes": 0}, r"config\.minutes: got 0.*above 0"),
      (40, {"minutes": 0.01}, r"config\.minutes: got 0\.01, too few"),
      (40, {"encoder__widht": 3}, r"encoder\.widht: .*did you mean 'width'"),
      (40, {"encoder__width": "wide"}, r"encoder\.width: got 'wide'"),
      (40, {"modality": "signal"}, "derived only for: vision, speech, text"),
    ],
  )
  def test_bad_input(self, count, values, message, tmp_path, cost):
    images = write_images(tmp_path / "photos", count)
    config = own(data__source__path=images, num_devices=1, **values)
    with pytest.raises(ConfigError, match=message):
      derive.for_run(config, tmp_path, say=lambda line: None)
    assert not (tmp_path / derive.FILE).exists()

  def test_a_damaged_record(self, tmp_path):
    (tmp_path / derive.FILE).write_text("{")
    with pytest.raises(ConfigError, match=r"derived\.json is damaged"):
      derive.for_run(own(), tmp_path)

  def test_the_network_of_another_run_stays(self, tmp_path, cost):
    theirs = config_lib.plain(config_file.load("digits"))
    (tmp_path / "run.json").write_text(json.dumps({"config": theirs}))
    images = write_images(tmp_path / "photos", 40, side=32)
    config = own(
      data__source__path=images,
      init_from=tmp_path,
      total_steps=9,
      num_devices=1,
    )
    (tmp_path / "new").mkdir()
    made = derive.for_run(config, tmp_path / "new", say=lambda line: None)
    for field in ("image_size", "patch_size", "width", "depth", "mean"):
      assert made.encoder[field] == theirs["encoder"][field], field
    assert made.data.channels == 1
    again = derive.for_run(config, tmp_path / "new")
    assert again.to_json() == made.to_json()


def test_evaluation_takes_what_was_derived(tmp_path, cost):
  digits = config_file.load("digits")
  assert derive.for_evaluation(digits, tmp_path) is digits
  config = own(total_steps=5)
  with pytest.raises(ConfigError, match=r"has no derived\.json"):
    derive.for_evaluation(config, tmp_path)
  images = write_images(tmp_path / "photos", 40)
  config = own(total_steps=5, data__source__path=images, num_devices=1)
  made = derive.for_run(config, tmp_path, say=lambda line: None)
  again = derive.for_evaluation(config, tmp_path)
  assert again.to_json() == made.to_json()


class TestFromData:
  def test_what_is_closed_is_left_alone(self):
    digits = config_file.load("digits")
    with derive.from_data(digits) as config:
      assert config is digits

  def test_text_with_a_tokenizer_of_its_own(self, capsys):
    config = own("own_text", encoder__vocab_size=400)
    config.data.source = {"name": "kjv", "split": "train"}
    with derive.from_data(config) as made:
      path = pathlib.Path(made.data.tokenizer.path)
      assert path.exists()
      build.plan(made)
    assert not path.exists()
    # As verses.py, whose text it is.
    verses = config_file.load("verses")
    for field in ("width", "depth", "num_heads", "max_tokens"):
      assert made.encoder[field] == verses.encoder[field]
    assert "--config.encoder.width=128" in capsys.readouterr().err

  def test_recordings(self, capsys):
    config = own("own_speech")
    config.data.source = {"name": "tones", "split": "train"}
    with derive.from_data(config) as made:
      build.plan(made)
    tones = config_file.load("tones")
    for field in ("conv_layers", "width", "depth", "num_heads"):
      assert made.encoder[field] == tones.encoder[field]

  def test_provisional_values_are_those_of_some_config(self):
    for name in ("own_images", "own_speech", "own_text"):
      assert not marks.is_open(rules.provisional(config_file.load(name)))


def test_check(tmp_path, capsys):
  images = write_images(tmp_path / "photos", 40)
  source = f"--config.data.source.path={images}"
  assert commands.main(["check", "own_images", source]) == 0
  out, err = capsys.readouterr()
  assert "40" in out and "--config.encoder.image_size=8" in err


@pytest.mark.slow
def test_a_run_from_start_to_end(tmp_path, capsys, monkeypatch):
  # The fewest updates, however many this machine has time for.
  monkeypatch.setattr(run_length, "EPOCHS", 1)
  images = write_images(tmp_path / "photos", 40)
  config = own(data__source__path=images, minutes=10.0, num_devices=1)
  d2v_jax.train(config, tmp_path / "run")
  record = json.loads((tmp_path / "run" / derive.FILE).read_text())
  steps = record["values"]["total_steps"]
  assert steps == 100
  kept = json.loads((tmp_path / "run/run.json").read_text())["config"]
  assert kept["total_steps"] == steps
  assert "derived" not in json.dumps(kept)
  assert runs.metrics(tmp_path / "run")[-1]["step"] == steps
  capsys.readouterr()
  d2v_jax.train(config, tmp_path / "run")
  assert f"is finished: step {steps}" in capsys.readouterr().out


@pytest.mark.slow
def test_plan(tmp_path, capsys):
  images = write_images(tmp_path / "photos", 40)
  source = f"--config.data.source.path={images}"
  arguments = ["plan", "own_images", "--device=cpu", source]
  assert commands.main(arguments) == 0
  assert "own_images" in capsys.readouterr().out
