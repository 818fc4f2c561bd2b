"""A foreign file becomes a run, which does what runs do."""

import importlib.util
import json
import re
import shutil

import jax
import numpy as np
import pytest

from d2v_jax import main, pretrained
from d2v_jax.interchange import command, run
from d2v_jax.interchange.weights import flatten
from d2v_jax.training.checkpoints import stored_items
from tests import runs
from tests.interchange.fairseq import checkpoints2 as files
from tests.interchange.torch_file import torch_files


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
  """A run that was imported, of images like the digits."""
  folder = tmp_path_factory.mktemp("digits")
  torch_files.save(folder / "base.pt", files.uneven("image"))
  source, dest = folder / "base.pt", folder / "run"
  assert command.main(["import", str(source), str(dest), "--no-check"]) == 0
  return dest


def test_the_run(digits, capsys):
  images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
  found = [
    pretrained.load(digits, model, num_devices=1).features(images)
    for model in ("teacher", "student")
  ]
  assert [x.shape for x in found] == [(3, 24)] * 2
  assert np.isfinite(found).all() and np.abs(found[0] - found[1]).max() > 0.1
  record = json.loads((digits / "run.json").read_text())
  assert record["config"]["objective"]["name"] == "data2vec2"
  assert record["config"]["data"]["mask"]["name"] == "inverse_blocks"
  assert record["origin"]["format"] == "fairseq"


def test_exported_and_back(digits, tmp_path):
  out, back = tmp_path / "out", tmp_path / "back"
  arguments = ["export", str(digits), str(out), "--format=safetensors"]
  assert command.main(arguments) == 0
  assert command.main(["import", str(out), str(back), "--no-check"]) == 0
  for item in ("params", "teacher_params"):
    given, found = load(digits, item), load(back, item)
    jax.tree.map(np.testing.assert_array_equal, found, given)
  alone = tmp_path / "alone"
  arguments = ["import", str(out), str(alone), "--no-check", "--encoder_only"]
  assert command.main(arguments) == 0
  assert given.keys() == load(alone, "params").keys()


def test_shares_of_the_run_leave_as_updates(digits, tmp_path):
  shutil.copytree(digits, tmp_path / "run")
  file = tmp_path / "run/run.json"
  record = json.loads(file.read_text())
  record["config"]["objective"]["ema"]["anneal_steps"] = "50%"
  record["config"]["total_steps"] = 90
  file.write_text(json.dumps(record))
  assert run.read(tmp_path / "run").objective["ema"]["anneal_steps"] == 45


SMALL = ("--config.num_devices=1", "--config.evaluation.evaluators={'knn': {}}")


def load(run, item):
  return stored_items.load_item(run / "checkpoints", item)[1]


@pytest.mark.slow
def test_trained_on(digits, tmp_path):
  workdir = tmp_path / "run"
  arguments = [
    "--config=configs/digits_d2v2.py",
    f"--workdir={workdir}",
    f"--config.init_from={digits}",
    *SMALL,
    "--config.evaluation.evaluators=None",
    "--config.total_steps=1",
    "--config.batch_size=4",
    "--config.data.channels=3",
    "--config.schedule.warmup_steps=1",
    "--config.encoder.width=24",
    "--config.encoder.mlp_ratio=2.5",
    "--config.objective.decoder.width=16",
    "--config.objective.decoder.groups=8",
    "--config.objective.decoder.layers=2",
  ]
  assert main.main(arguments) == 0
  (line,) = runs.metrics(workdir)
  decay = line["ema_decay"]
  for item in ("params", "teacher_params"):
    (given, student), (started, _) = (
      [flatten(load(run, name)) for name in (item, "params")]
      for run in (digits, workdir)
    )
    assert given.keys() == started.keys()
    for name, value in given.items():
      if item == "teacher_params":
        value = decay * value + (1 - decay) * student[name]
      # The first update of a warm-up has rate 0.
      np.testing.assert_allclose(
        started[name], value, rtol=0, atol=1e-6, err_msg=name
      )


def test_probed(digits, tmp_path, capsys):
  command = [
    "--config=configs/probe_digits.py",
    f"--workdir={tmp_path / 'probe'}",
    f"--config.init_from={digits}",
    "--config.data={'channels': 3}",
    *SMALL,
  ]
  assert main.main(command) == 0
  printed = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert 0 <= printed["knn/accuracy"] <= 1


def test_what_the_import_says(digits, tmp_path, capsys):
  torch_files.save(tmp_path / "base.pt", files.uneven("image"))
  arguments = ["import", str(tmp_path / "base.pt"), str(tmp_path / "run")]
  assert command.main(arguments) == 0
  out = capsys.readouterr().out
  assert "encoder: 1 + 2 layers of width 24" in out
  assert "objective: data2vec2" in out
  assert "data2vec_multi (data2vec 2.0) of fairseq, pretrained" in out
  if importlib.util.find_spec("torch") is None:
    assert "not compared with other activations: torch is not ins" in out
    return
  found = re.search(r"those of PyTorch with the same weights: (\S+) \(", out)
  assert float(found[1]) < 1e-4
