"""From Python what the command line does; and the package is light."""

import subprocess
import sys

import numpy as np
import pytest

import d2v_jax
from d2v_jax import commands, config_file
from d2v_jax.data.images.sources import Digits
from tests import runs

TINY = runs.ROOT / runs.TINY


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("actions") / "run"
  config = config_file.load(str(TINY))
  config.num_devices = 1
  before = config.to_dict()
  d2v_jax.train(config, workdir)
  assert config.to_dict() == before
  return workdir


def test_train_and_evaluate(workdir):
  line = runs.metrics(workdir)[-1]
  assert line["step"] == 12
  config = config_file.load(str(TINY))
  config.num_devices = 1
  for measured in (
    d2v_jax.evaluate(workdir),
    d2v_jax.evaluate(str(workdir), config),
  ):
    assert measured["step"] == 12
    assert measured["knn/accuracy"] == line["knn/accuracy"]


def test_any_number_of_devices_measures(workdir):
  """Also one that the size of the batches is no multiple of."""
  config = config_file.load(str(TINY))
  config.num_devices = 8
  config.evaluation.batch_size = 30
  config.evaluation.evaluators = {"knn": {}}
  measured = d2v_jax.evaluate(workdir, config)
  line = runs.metrics(workdir)[-1]
  assert measured["knn/accuracy"] == pytest.approx(
    line["knn/accuracy"], abs=2e-3
  )


def test_a_probe_goes_to_a_workdir_of_its_own(workdir, tmp_path):
  config = config_file.load("probe_digits")
  config.init_from, config.num_devices = str(workdir), 1
  config.evaluation.evaluators = {"knn": {}}
  for _ in range(2):  # the second time there is a run.json of the probe
    measured = d2v_jax.evaluate(tmp_path, config)
  line = runs.metrics(workdir)[-1]
  assert measured["knn/accuracy"] == pytest.approx(
    line["knn/accuracy"], abs=2e-3
  )
  assert d2v_jax.evaluate(tmp_path) == measured
  d2v_jax.train(config, tmp_path)  # measures, since there is nothing to train
  assert not (tmp_path / "checkpoints").exists()


def digits(split):
  source = Digits(split)
  images = np.stack([source[i]["image"][..., 0] for i in range(len(source))])
  return {
    "image": images,
    "label": [source[i]["label"] for i in range(len(source))],
  }


def test_data_that_are_given(workdir, tmp_path, capsys):
  """They are the digits, so the run is the same, bit for bit."""
  config = config_file.load(str(TINY))
  config.num_devices = 1
  data = {split: digits(split) for split in ("train", "test")}
  # A source of records does as well as arrays.
  data["source"] = Digits("train")
  given = tmp_path / "run"
  d2v_jax.train(config, given, data=data)
  assert config.data.source.name == "digits"
  assert runs.metrics(given) == runs.metrics(workdir)
  runs.assert_same_state(given, workdir)
  measured = d2v_jax.evaluate(given, data=data)
  assert measured["knn/accuracy"] == runs.metrics(workdir)[-1]["knn/accuracy"]

  # The run does not have them, and only these fit.
  again = r"config.data.source: its data were given in Python, and are not st"
  with pytest.raises(ValueError, match=again):
    d2v_jax.evaluate(given)
  with pytest.raises(
    ValueError, match=r"give 'source' \(again\), .*given is tes"
  ):
    d2v_jax.evaluate(given, data={"test": data["test"]})
  assert commands.main(["evaluate", f"--workdir={given}"]) == 2
  assert "were given in Python" in capsys.readouterr().err
  other = {**data, "source": data["train"]["image"] ^ 1}
  different = "fingerprint of the given data 'source': '.*' -> '"
  with pytest.raises(ValueError, match=different):
    d2v_jax.train(config, given, data=other)


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (np.zeros((3, 8, 8), bool), "config.data.source: ImageArrays: 'image' has"),
    (
      {"image": np.zeros((3, 8)), "labels": [1]},
      "data: unknown 'labels'; give",
    ),
    ({"tset": np.zeros((3, 8))}, "data: nothing reads 'tset'; splits are call"),
    ({"test": [], "train": iter([])}, "data: 'train' is of the type list_iter"),
  ],
)
def test_data_that_do_not_fit(data, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    d2v_jax.train(str(TINY), tmp_path / "run", data=data)


def test_errors(tmp_path):
  with pytest.raises(
    ValueError, match=r"no config 'digit' \(did you mean 'dig"
  ):
    d2v_jax.train("digit", tmp_path / "run")
  with pytest.raises(ValueError, match=r"has no run\.json"):
    d2v_jax.evaluate(tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_importing_the_package_imports_no_jax():
  code = (
    "import sys, d2v_jax\n"
    "print(d2v_jax.__version__, *sorted(dir(d2v_jax)))\n"
    "print('jax' in sys.modules, 'numpy' in sys.modules)\n"
    "from d2v_jax import load\n"
    "print('jax' in sys.modules, d2v_jax.load is load)\n"
    "try:\n"
    "  d2v_jax.loda\n"
    "except AttributeError as e:\n"
    "  print(e)\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=runs.ROOT,
    env=runs.environment(),
    capture_output=True,
    text=True,
    check=True,
  )
  names, before, after, error = done.stdout.splitlines()
  assert {"train", "evaluate", "load"} <= set(names.split())
  assert (before, after) == ("False False", "True True")
  assert error == "module 'd2v_jax' has no attribute 'loda'"
