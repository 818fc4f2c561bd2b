import json
import pathlib
import subprocess
import sys
import types

import pytest

from d2v_jax import compilation_cache
from tests import runs

# The command line, which counts what it compiles and what was kept; a signal
# stops it at a batch.
COUNTS = """
import collections, json, os, signal, sys
from jax import monitoring
from d2v_jax import main
from d2v_jax.data import pipeline

events, taken = collections.Counter(), []
monitoring.register_event_listener(
  lambda event, **_: events.update([event.rpartition("/")[2]])
)
take = pipeline.TrainBatches.__next__


def next_batch(self):
  taken.append(dict(events))
  if len(taken) == int(sys.argv[2]):
    os.kill(os.getpid(), signal.SIGTERM)
  return take(self)


pipeline.TrainBatches.__next__ = next_batch
status = main.main(sys.argv[3:])
with open(sys.argv[1], "w") as f:
  json.dump({"status": status, "at_batches": taken, "end": events}, f)
"""


def run(tmp_path, stop_at):
  """Trains on texts of two lengths; returns the counts and what it printed."""
  environment = runs.environment() | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
  for name in list(environment):
    if name.startswith(("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE")):
      del environment[name]
  command = [sys.executable, "-c", COUNTS, str(tmp_path / "counts")]
  arguments = ["--config=tests/configs/tiny_text.py"]
  arguments += [f"--workdir={tmp_path / 'run'}"]
  arguments += ["--config.evaluation.evaluators=None"]
  done = subprocess.run(
    [*command, str(stop_at), *arguments],
    cwd=runs.ROOT,
    env=environment,
    capture_output=True,
    text=True,
    timeout=runs.TIMEOUT,
  )
  assert "Traceback" not in done.stderr
  return json.loads((tmp_path / "counts").read_text()), done.stdout


@pytest.mark.slow
def test_a_restart_compiles_nothing(tmp_path):
  first, out = run(tmp_path, stop_at=3)
  assert first["status"] == 143
  assert first["end"]["cache_misses"] > 5
  assert "cache_hits" not in first["end"]
  begin, _, _ = out.partition("step 1/8")
  assert begin.splitlines()[-2:] == [
    "compiling the step for inputs of 16 x 32 (1 of 2)",
    "compiling the step for inputs of 16 x 64 (2 of 2)",
  ]
  # Between two batches nothing was left to compile.
  misses = [x["cache_misses"] for x in first["at_batches"]]
  assert len(misses) == 3
  assert len(set(misses)) == 1
  kept = list((tmp_path / "cache" / "d2v_jax" / "compiled").glob("*-cache"))
  assert len(kept) == first["end"]["cache_misses"]

  second, out = run(tmp_path, stop_at=0)
  assert second["status"] == 0
  assert "from step 3\ncompiling the step for inputs of 16 x 32 (1 of 2)" in out
  assert "cache_misses" not in second["end"]
  requests = second["end"]["compile_requests_use_cache"]
  assert second["end"]["cache_hits"] == requests > 5


class Config:
  """jax.config, of which each test has its own."""

  jax_enable_compilation_cache = True
  jax_compilation_cache_dir = None

  def __init__(self):
    self.changes = {}

  def update(self, name, value):
    self.changes[name] = value


@pytest.fixture
def config(monkeypatch, tmp_path):
  config = Config()
  monkeypatch.setitem(sys.modules, "jax", types.SimpleNamespace(config=config))
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
  return config


def test_the_folder_is_below_that_of_the_user(config, tmp_path):
  compilation_cache.enable()
  folder = tmp_path / "d2v_jax" / "compiled"
  assert folder.is_dir()
  assert config.changes == {
    "jax_compilation_cache_dir": str(folder),
    "jax_persistent_cache_min_compile_time_secs": 0.0,
  }


def test_without_xdg_it_is_in_the_home(monkeypatch):
  monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
  monkeypatch.setenv("HOME", "/home/of/anna")
  folder = pathlib.Path("/home/of/anna/.cache/d2v_jax/compiled")
  assert compilation_cache.folder() == folder


def test_a_folder_that_is_set_stays(config, tmp_path, monkeypatch):
  config.jax_compilation_cache_dir = "elsewhere"
  monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "3")
  compilation_cache.enable()
  assert config.changes == {}
  assert not list(tmp_path.iterdir())


def test_it_can_be_turned_off(config, tmp_path):
  config.jax_enable_compilation_cache = False
  compilation_cache.enable()
  assert config.changes == {}
  assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(config, tmp_path, monkeypatch, capsys):
  (tmp_path / "file").write_text("")
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
  compilation_cache.enable()
  assert config.changes == {}
  message = capsys.readouterr().err
  assert message.startswith(f"what is compiled cannot be kept in {tmp_path}")
  assert "(Not a directory): each start compiles anew" in message
