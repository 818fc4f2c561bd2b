"""What the loop tells of itself while it runs."""

import gzip
import json
import types
from concurrent.futures import Future

import pytest

from d2v_jax import config_file, main
from d2v_jax.data import pipeline
from d2v_jax.training import build, feed, loop, operations
from d2v_jax.training.compiled_run import CompiledRun
from d2v_jax.training.logs import device_peaks, metrics, throughput
from tests import runs

ALONE = ("--config.num_devices=2", "--config.evaluation.evaluators=None")


@pytest.fixture
def slow_input(monkeypatch):
  """By the clock a batch takes two seconds, and the devices' step one."""
  now, take = 100.0, pipeline.TrainBatches.__next__

  def next_batch(self):
    nonlocal now
    now += 2
    return take(self)

  def busy_with(self, values):
    assert "loss" in values
    self._done = Future()
    self._done.set_result(now + 1)

  fake = types.SimpleNamespace(monotonic=lambda: now)
  monkeypatch.setattr(pipeline.TrainBatches, "__next__", next_batch)
  monkeypatch.setattr(feed, "time", fake)
  monkeypatch.setattr(throughput, "time", fake)
  monkeypatch.setattr(feed.Feed, "busy_with", busy_with)


@pytest.fixture
def train(tmp_path, capsys):
  """Runs the command line; returns what it printed and has logged."""

  def train(*arguments):
    workdir = tmp_path / "run"
    command = [f"--config={runs.TINY}", f"--workdir={workdir}"]
    assert main.main([*command, *ALONE, *arguments]) == 0
    text = (workdir / "metrics.jsonl").read_text()
    lines = {x["step"]: x for x in map(json.loads, text.splitlines())}
    return capsys.readouterr().out, lines

  return train


@pytest.mark.slow
def test_speed_and_waiting_are_logged(slow_input, train, monkeypatch):
  peaks = device_peaks.Peaks(1e5, 1e6, 1)
  monkeypatch.setattr(
    device_peaks, "peaks", lambda kind: {"cpu": peaks}.get(kind)
  )
  # What is saved or evaluated is read before the next batch is there.
  out, lines = train(
    "--config.log_every=3",
    "--config.checkpoint_every=100",
    "--config.evaluation.every=0",
  )
  assert list(lines) == [3, 6, 9, 12]
  run = build.from_config(config_file.load(runs.TINY))
  compiled = CompiledRun(run)
  step = operations.count(
    compiled.step, compiled.abstract_state, run.example_batch
  )
  for line in (lines[3], lines[6], lines[9]):
    # 16 examples in two seconds, on two devices.
    assert line["examples_per_sec"] == pytest.approx(8.0)
    assert line["peak_fraction"] == pytest.approx(step / 2 / 1e5 / 2)
    assert line["input_wait"] == 0.5
  warnings = [x for x in out.splitlines() if x.startswith("warning: ")]
  assert len(warnings) == 1
  assert warnings[0].startswith(
    "warning: the devices wait for input 50% of the time. An example is "
  )
  shown = out.splitlines()
  # Not after the first interval, in which the threads begin to read.
  before = shown[shown.index(warnings[0]) - 1]
  assert before.startswith("step 6/12")
  assert before.endswith("of peak  50% waiting for input")


def test_without_a_known_peak_there_is_no_fraction(slow_input, train):
  _, lines = train("--config.log_every=2")
  assert lines[6]["input_wait"] == 0.5
  assert "peak_fraction" not in lines[6]


def test_a_trace_of_the_steps_asked_for(train, tmp_path):
  train("--config.profile=dict(start=3, steps=2)")
  (file,) = (tmp_path / "run" / "profile").rglob("*.trace.json.gz")
  with gzip.open(file) as f:
    events = json.load(f)["traceEvents"]
  steps = [e["args"]["step_num"] for e in events if e.get("name") == "train"]
  assert sorted(steps) == ["3", "4"]


@pytest.mark.slow
def test_a_run_that_goes_on_after_the_traced_steps_says_so(train, tmp_path):
  train("--config.total_steps=12")
  checkpoints = tmp_path / "run" / "checkpoints"
  (checkpoints / "12").rename(tmp_path / "12")
  out, _ = train("--config.profile=dict(start=8, steps=1)")
  assert "from step 8\nstep 8 of config.profile is over; there will be" in out
  assert not (tmp_path / "run" / "profile").exists()


def test_a_run_looks_at_its_data_when_it_begins(train, tmp_path):
  seen = "looked at 64 of 1,297 records of config.data.source: 0 findings\n"
  out, _ = train()
  assert out.startswith(seen)
  checkpoints = tmp_path / "run" / "checkpoints"
  (checkpoints / "12").rename(tmp_path / "12")
  out, _ = train()
  assert "from step 8\n" in out and "looked at" not in out


def test_that_parts_are_measured_is_shown(train, monkeypatch):
  told = []
  monkeypatch.setattr(
    metrics.Terminal, "activity", lambda self, text: told.append(text)
  )
  train("--config.total_steps=2", "--config.health.every=1")
  assert told == 2 * ["measuring the parts of the network"]


def test_an_evaluation_beside_a_run_takes_the_next_checkpoint(monkeypatch):
  """The run removes step 4 when the student has been read."""
  asked = []
  steps = [[8], [8]]

  def load_item(directory, item, abstract, *, step=None):
    asked.append((item, step))
    if (item, step) == ("teacher_params", 4):
      raise ValueError("step 4 is gone")
    return step or (4 if len(asked) == 1 else 8), item

  monkeypatch.setattr(loop.stored_items, "load_item", load_item)
  monkeypatch.setattr(
    loop.checkpoint_files, "steps_on_disk", lambda _: steps.pop()
  )
  target = types.SimpleNamespace(params=None, teacher_params=None)
  found = loop._newest_weights(None, target)
  assert found == (8, "params", "teacher_params")
  assert asked == [
    ("params", None),
    ("teacher_params", 4),
    ("params", None),
    ("teacher_params", 8),
  ]
  # What is there and cannot be read is an error.
  asked.clear()
  steps.append([8, 4])
  with pytest.raises(ValueError, match="step 4 is gone"):
    loop._newest_weights(None, target)
