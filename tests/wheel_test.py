"""What is installed from a wheel is all that there is: no clone beside it."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv

import cv2
import numpy as np
import pytest

from tests import runs

pytestmark = pytest.mark.slow

SMALL = (
  "--config.num_devices=1",
  "--config.total_steps=4",
  "--config.evaluation.evaluators.linear_probe.steps=100",
)


def call(*command, cwd):
  """Runs a command, which must succeed; returns its stdout."""
  env = runs.environment() | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
  env.pop("PYTHONPATH", None)
  done = subprocess.run(
    list(map(str, command)),
    cwd=cwd,
    env=env,
    capture_output=True,
    text=True,
    timeout=runs.TIMEOUT,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
  """The bin folder of an environment with this package's wheel in it.

  Everything else it takes from the environment of the tests.
  """
  root = tmp_path_factory.mktemp("wheel")
  # Not in the checkout, where a build leaves files.
  shutil.copytree(
    runs.ROOT,
    root / "source",
    ignore=shutil.ignore_patterns(".*", "runs", "build", "*.egg-info"),
  )
  pip = [sys.executable, "-m", "pip"]
  options = ["--no-deps", "--no-index", "--quiet"]
  call(
    *(*pip, "wheel", *options, "--no-build-isolation", "-w", root),
    root / "source",
    cwd=root,
  )
  shutil.rmtree(root / "source")
  venv.create(root / "env")
  (wheel,) = root.glob("*.whl")
  python = root / "env/bin/python"
  call(*pip, "--python", python, "install", *options, wheel, cwd=root)
  paths = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
  find = "import sysconfig; print(sysconfig.get_path('purelib'))"
  site = pathlib.Path(call(python, "-c", find, cwd=root).strip())
  # After its own folder, so that a checkout installed there does not count.
  (site / "others.pth").write_text("\n".join(sorted(paths)) + "\n")
  return root / "env/bin"


def test_from_an_empty_folder(installed, tmp_path):
  d2v = installed / "d2v"
  page = call(d2v, cwd=tmp_path)
  assert page.startswith("usage: d2v COMMAND")
  assert call(installed / "python", "-m", "d2v_jax", cwd=tmp_path) == page
  where = "import d2v_jax; print(d2v_jax.__file__)"
  place = call(installed / "python", "-c", where, cwd=tmp_path)
  assert place.startswith(str(installed.parent))

  warmup = "--config.schedule.warmup_steps=1"
  call(d2v, "train", "digits", "--workdir=run", *SMALL, warmup, cwd=tmp_path)
  assert [line["step"] for line in runs.metrics(tmp_path / "run")][-1] == 4
  printed = call(
    *(d2v, "probe", "probe_digits", "--run=run", "--workdir=probe", SMALL[0]),
    "--config.evaluation.evaluators={'knn': {}}",
    cwd=tmp_path,
  )
  assert 0.1 < json.loads(printed)["knn/accuracy"] <= 1

  rng = np.random.default_rng(0)
  os.mkdir(tmp_path / "photos")
  for i in range(3):
    pixels = rng.integers(0, 256, (9, 9)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / f"photos/{i}.png"), pixels)
  call(
    *(d2v, "features", "--run=run", "--input=photos", "--output=photos.npz"),
    cwd=tmp_path,
  )
  with np.load(tmp_path / "photos.npz") as features:
    assert features["features"].shape == (3, 96)
    assert np.isfinite(features["features"]).all()


def test_configs_with_parents(installed, tmp_path):
  """Ours start from ours, and so may those of a user."""
  (tmp_path / "configs").mkdir()
  (tmp_path / "configs/mine.py").write_text(
    "from configs import vit_large\n"
    "def get_config():\n"
    "  c = vit_large.get_config()\n"
    "  c.seed = 7\n"
    "  return c\n"
  )
  names = {p.stem for p in (runs.ROOT / "configs").glob("*.py")}
  loads = (
    "import sys\n"
    "from d2v_jax import config_file\n"
    "for name in sys.argv[1:]:\n"
    "  config_file.load(name)\n"
    "mine = config_file.load('configs/mine.py')\n"
    "print(mine.seed, mine.encoder.depth)\n"
  )
  printed = call(installed / "python", "-c", loads, *names, cwd=tmp_path)
  assert printed.split() == ["7", "24"]


def test_a_plan(installed, tmp_path):
  row = json.loads(
    call(
      *(installed / "d2v", "plan", "digits", "--device=cpu", "--json"),
      cwd=tmp_path,
    )
  )
  assert row["fits"]
  described = (
    "from importlib import resources\n"
    "from d2v_jax.planning import devices\n"
    "folder = resources.files('d2v_jax.planning')\n"
    "print(all((folder / f'{g}.txtpb').is_file() for g in devices._GPUS))\n"
  )
  printed = call(installed / "python", "-c", described, cwd=tmp_path)
  assert printed == "True\n"
