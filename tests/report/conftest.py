"""Networks of random weights, with the data of tiny configs."""

import json

import numpy as np
import pytest

from d2v_jax.report import stored
from d2v_jax.report.network import Network
from d2v_jax.report.opened import opened
from d2v_jax.report.pictures.drawers import drawer
from tests import random_runs


@pytest.fixture(scope="session")
def workdirs_of_networks(tmp_path_factory):
  """Modality -> workdir of a run of random weights."""
  signals = tmp_path_factory.mktemp("signals") / "signals.npz"
  rng = np.random.default_rng(0)
  np.savez(
    signals, signal=rng.normal(size=(24, 30, 3)), label=np.arange(24) % 4
  )
  found = {}
  for modality in random_runs.CONFIGS:
    workdir = random_runs.save(tmp_path_factory.mktemp(modality), modality)
    text = (workdir / "run.json").read_text()
    path = json.dumps(str(signals))
    text = text.replace('"signals.npz"', path)
    (workdir / "run.json").write_text(text)
    found[modality] = workdir
  return found


@pytest.fixture(scope="session")
def networks(workdirs_of_networks):
  """Modality -> its network."""
  found = {}
  for modality, workdir in workdirs_of_networks.items():
    run = stored.read(workdir)
    it = opened(run.config)
    found[modality] = Network(run, it, drawer(it.dataset), learned=40)
  return found
