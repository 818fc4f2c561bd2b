"""A run that is not alive stops and says why."""

import json
import math
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

import d2v_jax
from d2v_jax import config_file, main, replay
from d2v_jax.data import pipeline
from d2v_jax.objectives.data2vec import Data2Vec
from d2v_jax.training.checkpoints import stored_items
from d2v_jax.training.trouble import health
from d2v_jax.training.trouble.diagnoses import DIAGNOSES
from tests import runs

ALIVE = {
  "loss": 0.5,
  "grad_norm": 1.0,
  "param_norm": 9.0,
  "target_std": 1.0,
  "prediction_std": 1.0,
}


def monitor(**thresholds):
  thresholds = {
    "min_target_std": 0.1,
    "min_prediction_std": 0.01,
    "patience": 3,
    "start_step": 10,
  } | thresholds
  return health.Monitor(health.Health(**thresholds))


def monitor_of(state, **thresholds):
  """One that goes on, by what a file has kept."""
  kept = json.loads(json.dumps(state, allow_nan=False))
  return health.Monitor(health.Health(**thresholds), kept)


def check(judge, steps, **values):
  for step in steps:
    judge.check(step, ALIVE | values)


# The monitor


def test_a_healthy_run_goes_on():
  check(monitor(patience=1, start_step=0), range(1, 100))


@pytest.mark.parametrize("name", ["target_std", "prediction_std"])
def test_a_collapse_stops_after_patience_and_says_since_when(name):
  judge = monitor()
  check(judge, range(1, 20))
  check(judge, [20, 21], **{name: 0.001})
  with pytest.raises(health.UnhealthyRun) as e:
    check(judge, [22], **{name: 0.002})
  threshold = {"target_std": 0.1, "prediction_std": 0.01}[name]
  assert str(e.value).startswith(
    f"{name} is 0.002 at step 22 and has been below {threshold} since step 20. "
  )
  assert f"(The threshold is config.health.min_{name}.)" in str(e.value)
  assert "config.schedule.peak" in str(e.value)


def test_a_value_at_the_threshold_is_healthy():
  check(monitor(patience=1), range(10, 20), target_std=0.1)


def test_recovery_starts_the_count_again():
  judge = monitor()
  for _ in range(5):
    check(judge, [20, 21], target_std=0.0)
    check(judge, [22])


def test_the_two_are_counted_apart():
  judge = monitor()
  check(judge, [20, 21], target_std=0.0)
  check(judge, [22, 23], prediction_std=0.0)
  with pytest.raises(health.UnhealthyRun, match=r"prediction_std .* step 22"):
    check(judge, [24], prediction_std=0.0, target_std=0.0)


def test_nothing_is_judged_for_collapse_before_start_step():
  judge = monitor()
  check(judge, range(1, 10), target_std=0.0)
  check(judge, [10, 11], target_std=0.0)
  with pytest.raises(health.UnhealthyRun, match="since step 10"):
    check(judge, [12], target_std=0.0)


def test_nan_is_not_above_a_threshold():
  judge = monitor(patience=1)
  with pytest.raises(health.UnhealthyRun, match="target_std is nan at step 10"):
    check(judge, [10], target_std=math.nan)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["loss", "grad_norm", "param_norm"])
def test_what_is_not_finite_stops_the_run_at_once(name, value):
  with pytest.raises(health.UnhealthyRun) as e:
    check(monitor(), [1], **{name: value})
  assert str(e.value).startswith(f"{name} is {value} at step 1. ")
  for advice in ("schedule.peak", "optimizer.clip_norm"):
    assert f"config.{advice}" in str(e.value)


def test_objectives_without_these_statistics_are_judged_by_their_loss():
  judge = monitor(patience=1, start_step=0)
  judge.check(1, {"loss": 0.5})
  with pytest.raises(health.UnhealthyRun, match="loss is nan at step 2"):
    judge.check(2, {"loss": math.nan})


def test_patience_is_checked():
  with pytest.raises(ValueError, match="patience must be 1 or more, got 0"):
    health.Health(patience=0)


def test_the_count_goes_on_where_it_was_saved():
  judge = monitor()
  check(judge, [20, 21], target_std=0.0)
  state = json.loads(json.dumps(judge.state))
  judge = health.Monitor(judge._health, state)
  with pytest.raises(health.UnhealthyRun, match=r"step 22 .* since step 20"):
    check(judge, [22], target_std=0.0)


def test_what_is_forgiven_is_counted_anew():
  judge = monitor()
  check(judge, [20, 21], target_std=0.0)
  forgiving = health.Monitor(judge._health, judge.state, forgiven=21)
  check(forgiving, [22, 23], target_std=0.0)
  with pytest.raises(health.UnhealthyRun, match=r"step 24 .* since step 22"):
    check(forgiving, [24], target_std=0.0)


def test_an_explosion_is_seen_and_a_spike_is_none():
  judge = monitor(patience=10, start_step=10**6)
  check(judge, range(1, 11), loss=0.4)
  check(judge, range(11, 200), loss=0.03)
  check(judge, range(200, 209), loss=721.0)  # one too few
  check(judge, [209], loss=0.03)
  # 100 times the lowest, .03, is 3; twice the first is .8.
  check(judge, range(210, 300), loss=2.9)
  judge = monitor_of(judge.state, patience=10, start_step=10**6)
  check(judge, range(300, 305), loss=721.0)
  judge.saving(304)
  assert judge.healthy_checkpoint is None
  judge = monitor_of(judge.state, patience=10, start_step=10**6)
  check(judge, range(305, 309), loss=721.0)
  with pytest.raises(health.UnhealthyRun) as e:
    check(judge, [309], loss=721.0)
  assert str(e.value).startswith(
    "loss is 721 at step 309 and has been above 100 times its lowest mean, "
    "0.03, since step 300. Divergence: the run has diverged."
  )


def test_lower_losses_on_the_way_end_no_explosion():
  judge = monitor(patience=20, start_step=10**6)
  check(judge, range(1, 100), loss=0.03)
  for step in range(100, 156, 3):  # 19 of them
    check(judge, [step], loss=721.0)
    judge = monitor_of(judge.state, patience=20, start_step=10**6)
    check(judge, [step + 1, step + 2], loss=0.03)
  with pytest.raises(
    health.UnhealthyRun, match=r"at step 157 .*since step 100"
  ):
    check(judge, [157], loss=721.0)


def test_after_enough_lower_losses_an_explosion_is_over():
  judge = monitor(patience=20, start_step=10**6)
  check(judge, range(1, 100), loss=0.03)
  for step in range(100, 700, 12):
    check(judge, range(step, step + 9), loss=721.0)
    check(judge, range(step + 9, step + 12), loss=0.03)


def test_an_explosion_before_anything_was_learned_is_seen():
  judge = monitor(patience=20, start_step=10**6)
  check(judge, range(1, 15), loss=0.3, target_std=1.0)
  check(judge, range(15, 25), loss=721.0, target_std=1.0)
  judge = monitor_of(judge.state, patience=20, start_step=10**6)
  check(judge, range(25, 34), loss=3874.0, target_std=1.0)
  with pytest.raises(health.UnhealthyRun) as e:
    check(judge, [34], loss=721.0, target_std=1.0)
  assert str(e.value).startswith(
    "loss is 721 at step 34 and has been above 100 times what it was in the "
    "first steps, 0.3, since step 15. Divergence: the run has diverged."
  )


def test_a_loss_that_grows_with_its_targets_is_no_explosion():
  judge = monitor(patience=20, start_step=10**6)
  check(judge, range(1, 15), loss=0.001, target_std=0.05)
  # 400 times the variance, and 400 times the loss.
  check(judge, range(15, 90), loss=0.4, target_std=1.0)


@pytest.mark.parametrize(
  ("settings", "before", "after"),
  [
    ({"max_loss_ratio": None}, 0.03, 721.0),
    # No worse than at the beginning: the loss of what was learned by heart.
    ({}, 0.03, 0.7),
    # Of a loss below 0 a multiple says nothing; 100 times the first is 40.
    ({}, -0.03, 39.0),
  ],
)
def test_what_is_no_explosion(settings, before, after):
  judge = monitor(patience=10, start_step=10**6, **settings)
  check(judge, range(1, 11), loss=0.4)
  check(judge, range(11, 800), loss=before / 100)
  check(judge, range(800, 900), loss=after)


def test_skipped_steps_are_no_verdict_until_there_are_too_many():
  judge = monitor(max_bad_steps=2, patience=1)
  bad = {"loss": math.nan, "grad_norm": math.inf, "skipped": 1.0}
  check(judge, [1, 2], **bad)
  # The first two are more than a thousand steps ago.
  check(judge, [3, 1001, 1002])
  check(judge, [1003], **bad)
  judge.saving(1002)
  judge.saving(1003)
  assert judge.healthy_checkpoint == 1002
  judge = health.Monitor(judge._health, json.loads(json.dumps(judge.state)))
  check(judge, [1004], **bad)
  with pytest.raises(health.UnhealthyRun) as e:
    check(judge, [1005], **bad)
  assert str(e.value).startswith(
    "3 of the last 1000 steps had to be skipped, the last of them step 1005: "
    "loss is nan. Divergence: the run has diverged."
  )


def test_a_gradient_beyond_the_limit_is_a_bad_step():
  judge = monitor(max_gradient_ratio=4.0)
  check(judge, [1], grad_norm=8.0, grad_norm_limit=8.0)
  check(judge, [2], grad_norm=8.0, grad_norm_limit=math.inf)
  check(judge, [3], grad_norm=8.5, grad_norm_limit=8.0, skipped=1.0)
  with pytest.raises(health.UnhealthyRun) as e:
    check(judge, [4], grad_norm=8.5, grad_norm_limit=8.0)
  assert str(e.value).startswith(
    "grad_norm is 8.5, and 8 is config.health.max_gradient_ratio times its mean"
    " at step 4. "
  )
  with pytest.raises(ValueError, match="max_gradient_ratio must be above 1,"):
    health.Health(max_gradient_ratio=1.0)


def test_skipped_steps_leave_the_mean_of_the_losses_alone():
  judge = monitor()
  check(judge, range(1, 9))
  before = judge.state["losses"]
  check(judge, [9], loss=1e6, grad_norm=8.5, grad_norm_limit=8.0, skipped=1.0)
  assert judge.state["losses"] == before


def test_a_checkpoint_is_healthy_when_nothing_is_low():
  judge = monitor()
  found = []
  for step, std in enumerate([1.0, 1.0, 0.0, 0.0, 1.0, 0.0], 20):
    check(judge, [step], target_std=std)
    judge.saving(step)
    found.append(judge.healthy_checkpoint)
  assert found == [20, 21, 21, 21, 24, 24]
  judge = health.Monitor(judge._health, judge.state)
  assert judge.healthy_checkpoint == 24


# What is measured of parts

GOOD = {
  "health/spread/features": 0.5,
  "health/position_share/targets": 0.9,
  "health/explained/all": 0.5,
  "health/explained/content": 0.3,
  "health/explained/content_held_out": 0.2,
}
BAD = {
  "front_end": {"health/spread/features": 0.009},
  "position_only": {"health/position_share/targets": 0.9951},
  "not_learning": {"health/explained/all": 0.049},
  "memorising": {"health/explained/content_held_out": -0.21},
}
TOLD = {
  "front_end": "the spread of the feature encoder's tokens is 0.009, below "
  "0.01 (config.health.min_spread)",
  "position_only": "position explains 0.9951 of the variance of the targets",
  "not_learning": "predictions explain 0.049 of the variance of the targets",
  "memorising": "predictions explain 0.300 in training examples and -0.210 in "
  "held-out ones",
}
ONLY_TOLD = [x for x in BAD if x != "front_end"]


def measure(judge, step, name=None):
  return judge.measured(step, GOOD | BAD.get(name, {}))


def test_parts_of_a_healthy_run_say_nothing():
  judge = monitor()
  for step in range(0, 100, 5):
    assert measure(judge, step) == ({}, [])


@pytest.mark.parametrize("name", ONLY_TOLD)
def test_a_verdict_is_told_once_and_again_when_it_is_over(name):
  judge = monitor()
  assert measure(judge, 30, name) == ({}, [])
  assert measure(judge, 35) == ({}, [])  # once is chance
  assert measure(judge, 40, name) == ({}, [])
  holds, (line,) = measure(judge, 45, name)
  assert holds == {f"health/verdict/{name}": 40.0}
  assert TOLD[name] in line
  assert line.startswith("verdict: ") and "at step 45, since step 40. " in line
  it = DIAGNOSES[name]
  assert str(it) in line and f"{it.causes}. Next: {it.action}." in line
  judge = monitor_of(judge.state, start_step=10)
  assert measure(judge, 50, name) == (holds, [])
  judge.saving(50)
  assert judge.healthy_checkpoint == 50
  over = f"verdict: no longer {it.name}, at step 55"
  assert measure(judge, 55) == ({}, [over])
  assert measure(judge, 60) == ({}, [])


def test_a_front_end_that_has_collapsed_stops_the_run():
  judge = monitor()
  measure(judge, 30, "front_end")
  judge.saving(30)
  assert judge.healthy_checkpoint is None
  judge = monitor_of(judge.state, start_step=10)
  with pytest.raises(health.UnhealthyRun) as e:
    measure(judge, 35, "front_end")
  assert e.value.step == 35
  assert str(e.value).startswith(TOLD["front_end"])
  assert "at step 35, since step 30. Collapse of the front end: " in str(
    e.value
  )
  assert "config.schedule.peak" in str(e.value)
  unwatched = monitor(min_spread=0.0)
  for step in (30, 35, 40):
    assert measure(unwatched, step, "front_end") == ({}, [])


@pytest.mark.parametrize(
  ("name", "first"),
  [("not_learning", 10), ("memorising", 10), ("position_only", 20)],
)
def test_what_is_usual_early_is_not_judged(name, first):
  judge = monitor()  # from step 10 on
  for step in range(first):
    assert measure(judge, step, name) == ({}, [])
  assert measure(judge, first, name) == ({}, [])
  assert measure(judge, first + 1, name)[0] == {
    f"health/verdict/{name}": float(first)
  }


def test_what_was_not_measured_is_not_judged():
  judge = monitor()
  for step in (30, 35):
    assert judge.measured(step, {"health/spread/features": 0.5}) == ({}, [])
    some = {"health/explained/content": 0.9}  # nothing is held out
    assert judge.measured(step, some) == ({}, [])


def test_verdicts_that_are_forgiven_are_counted_anew():
  judge = monitor()
  measure(judge, 30, "front_end")
  forgiving = health.Monitor(judge._health, judge.state, forgiven=30)
  assert measure(forgiving, 35, "front_end") == ({}, [])
  with pytest.raises(health.UnhealthyRun, match="since step 35"):
    measure(forgiving, 40, "front_end")


def test_a_checkpoint_of_before_there_were_verdicts():
  state = monitor().state
  del state["shown"]
  assert monitor_of(state).state["shown"] == {}


@pytest.mark.parametrize(
  ("every", "total", "steps"),
  [
    (None, 800, list(range(40, 801, 40))),
    (None, 12, list(range(1, 13))),
    (0, 12, []),
    (5, 12, [5, 10, 12]),
  ],
)
def test_when_parts_are_measured(every, total, steps):
  it = health.Health(every=every)
  assert [x for x in range(1, total + 1) if it.measures(x, total)] == steps


def test_how_often_is_checked():
  with pytest.raises(ValueError, match=r"health\.every must be 0 .*got -1"):
    health.Health(every=-1)


# Whole runs

ARGUMENTS = (
  f"--config={runs.TINY}",
  "--config.num_devices=1",
  "--config.evaluation.evaluators=None",
)


def assert_checkpoints_are_finite(workdir):
  """Every one that is there, not only the newest; returns their steps."""
  directory = workdir / "checkpoints"
  steps = sorted(int(p.name) for p in directory.iterdir())
  for step in steps:
    for item in ("params", "teacher_params"):
      _, tree = stored_items.load_item(directory, item, step=step)
      assert all(np.isfinite(x).all() for x in jax.tree.leaves(tree))
  return steps


@pytest.mark.slow
def test_a_diverging_run_stops(tmp_path, capsys):
  status = main.main(
    [
      *ARGUMENTS,
      f"--workdir={tmp_path}",
      "--config.schedule.peak=1e6",
      "--config.optimizer.weight_decay=1.0",
      "--config.health.on_bad_step=stop",
      "--config.checkpoint_every=1",
      "--config.checkpoints.keep_latest=12",
    ]
  )
  _, err = capsys.readouterr()
  assert status == 3
  (first,) = err.splitlines()
  assert first.startswith("stopped: ")
  assert "_norm is inf at step" in first or "is nan at step" in first
  assert "config.schedule.peak" in first
  steps = assert_checkpoints_are_finite(tmp_path)
  stopped = int(first.split("at step ")[1].split(".")[0])
  assert (
    f"The last healthy checkpoint is that of step {stopped - 1} in" in first
  )
  assert steps == list(range(1, stopped))
  assert [x["step"] for x in runs.metrics(tmp_path)] == steps


# Low from step 5 on, with a checkpoint at each step.
COLLAPSING = (
  "--config.health.min_prediction_std=0",
  "--config.health.min_target_std=100.0",
  "--config.health.start_step=5",
  "--config.checkpoint_every=1",
  "--config.checkpoints.keep_latest=2",
)
PATIENT = "--config.health.patience=6"


@pytest.fixture
def run(tmp_path, capsys):
  """Runs the collapsing config; returns its status and what it said."""

  def run(*arguments):
    command = [*ARGUMENTS, f"--workdir={tmp_path}", *COLLAPSING, PATIENT]
    status = main.main([*command, *arguments])
    return status, capsys.readouterr().err

  return run


def steps(workdir, folder="checkpoints"):
  return sorted(int(p.name) for p in (workdir / folder).iterdir() if p.is_dir())


@pytest.mark.slow
def test_the_healthy_checkpoint_stays_and_sick_ones_are_not_gone_on_from(
  run, tmp_path
):
  status, err = run()
  assert status == 3
  assert err.startswith("stopped: target_std is ")
  assert "at step 10 and has been below 100.0 since step 5." in err
  assert "config.objective.ema.start" in err
  where = tmp_path / "checkpoints"
  assert err.endswith(
    f"The last healthy checkpoint is that of step 4 in {where}, and stays; "
    "--rewind=4 goes back to it.\n"
  )
  assert assert_checkpoints_are_finite(tmp_path) == [4, 8, 9]
  metrics = (tmp_path / "metrics.jsonl").read_bytes()

  # The same again is refused; what changes nothing is the same.
  for argument in ("--config.log_every=1", "--config.checkpoint_every=2"):
    status, err = run(argument)
    assert status == 3
    assert err.startswith("stopped: this run was stopped before, and the same")
    assert "target_std is " in err and "--ignore_verdict" in err
  assert (tmp_path / "metrics.jsonl").read_bytes() == metrics
  assert steps(tmp_path) == [4, 8, 9]

  # Another config may go on, and the count is still there.
  status, err = run("--config.health.patience=7")
  assert status == 3
  assert "at step 11 and has been below 100.0 since step 5." in err
  # It is a new verdict, so that the first config counts as another one.
  status, err = run("--config.health.patience=7", "--ignore_verdict")
  assert status == 0
  assert assert_checkpoints_are_finite(tmp_path) == [4, 11, 12]


@pytest.mark.slow
def test_going_back_with_other_values(run, tmp_path):
  assert run()[0] == 3
  changed = ("--config.schedule.peak=1e-3", "--config.health.min_target_std=0")
  status, err = run("--rewind=4")
  assert status == 3 and "the same config would do the same" in err
  status, err = run("--rewind=5", *changed)
  assert status == 2
  assert "no checkpoint of step 5" in err and "there are: 4, 8, 9" in err

  status, err = run(
    "--rewind=4", *changed, "--config.checkpoints.keep_latest=9"
  )
  assert (status, err) == (0, "")
  assert steps(tmp_path) == list(range(4, 13))
  assert steps(tmp_path, "rewound") == [8, 9]
  assert [x["step"] for x in runs.metrics(tmp_path)] == list(range(1, 13))
  assert len((tmp_path / "rewound/metrics.jsonl").read_text().splitlines()) == 9
  start = json.loads((tmp_path / "run.json").read_text())["starts"][-1]
  assert start["step"] == start["went back to step"] == 4
  assert "schedule.peak: 0.004 -> 0.001" in start["changed fields"]

  # A scheduler repeats the command: nothing is thrown away again.
  for step in (11, 12):
    (tmp_path / "checkpoints" / str(step)).rename(tmp_path / str(step))
  status, err = run("--rewind=4", *changed)
  assert (status, err) == (0, "")
  assert steps(tmp_path, "rewound") == [8, 9]
  starts = json.loads((tmp_path / "run.json").read_text())["starts"]
  assert starts[-1]["step"] == 10


# Failures of each kind, injected

MEASURED = (
  "--config.health.every=2",
  "--config.health.start_step=4",
  "--config.health.patience=4",
  "--config.checkpoint_every=12",
)


@pytest.fixture
def injected(tmp_path, capsys):
  """Runs a sick config; returns status, stdout, stderr and what is logged."""

  def run(*arguments):
    command = [*ARGUMENTS, f"--workdir={tmp_path}", *MEASURED, *arguments]
    status = main.main(command)
    return status, *capsys.readouterr(), runs.metrics(tmp_path)

  return run


@pytest.mark.slow
def test_injected_inputs_that_are_all_the_same(injected, tmp_path):
  # As with a standard deviation of other data: nothing is left of images.
  status, _, err, _ = injected("--config.encoder.std=(1e9,)")
  assert status == 3
  assert "the spread of the feature encoder's tokens is " in err
  assert "at step 6, since step 4. Collapse of the front end: " in err
  found = json.loads((tmp_path / "verdict.json").read_text())
  assert found["step"] == 6 and "Collapse of the front end" in found["reason"]
  assert "Collapse of the front end" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_injected_collapse_of_the_teacher(injected, monkeypatch):
  real = Data2Vec.teacher_targets
  monkeypatch.setattr(
    Data2Vec, "teacher_targets", lambda *args: 0 * real(*args) + 3
  )
  status, _, err, lines = injected()
  assert status == 3
  assert "target_std is 0.001 at step 7 and has been below 0.1 since" in err
  assert "Collapse of the teacher: the targets are (nearly) the same" in err
  last = [x for x in lines if "health/std/targets" in x][-1]
  assert last["health/std/targets"] < 0.002
  # Of what does not vary, nothing can be explained, or told by position.
  assert last["health/position_share/targets"] == 0


@pytest.mark.slow
def test_injected_collapse_of_the_student(injected, monkeypatch):
  real = Data2Vec.predictions
  monkeypatch.setattr(Data2Vec, "predictions", lambda *args: 0 * real(*args))
  status, _, err, _ = injected()
  assert status == 3
  assert "Collapse of the student: " in err


@pytest.mark.slow
def test_injected_targets_of_position_alone(injected, monkeypatch):
  real = Data2Vec.teacher_targets

  def only_position(*args):
    y = real(*args)
    return jnp.broadcast_to(y.mean(0), y.shape)

  monkeypatch.setattr(Data2Vec, "teacher_targets", only_position)
  status, out, _, lines = injected(
    "--config.health.min_prediction_std=0", "--config.schedule.peak=0.02"
  )
  assert status == 0
  (line,) = [x for x in out.splitlines() if "Position only" in x]
  assert line.startswith("verdict: position explains 1.0000 of the variance")
  assert "at step 10, since step 8. " in line
  holds = {
    x["step"]: x["health/verdict/position_only"]
    for x in lines
    if "health/verdict/position_only" in x
  }
  assert holds == {10: 8, 12: 8}


@pytest.mark.slow
def test_injected_rate_of_nearly_nothing(injected, tmp_path):
  status, out, _, lines = injected(
    "--config.health.min_prediction_std=0", "--config.schedule.peak=1e-12"
  )
  assert status == 0
  (line,) = [x for x in out.splitlines() if "Not learning yet" in x]
  assert line.startswith("verdict: predictions explain ")
  assert "at step 6, since step 4. " in line
  assert lines[-1]["health/verdict/not_learning"] == 4
  assert "health/verdict/memorising" not in lines[-1]
  assert "not learning yet since step 4" in out
  page = (tmp_path / "report.html").read_text()
  assert "not learning yet" in page and "4 at the end still" in page


@pytest.mark.slow
def test_injected_memory_of_training_examples(tmp_path, capsys, monkeypatch):
  """Examples to train on have a mark, by which a student knows targets."""
  real = Data2Vec.predictions

  def by_heart(self, params, batch, rng, features=None):
    mark = (batch["inputs"][:, 0, 0, 0] == 255)[:, None, None]
    known = self.teacher_targets(params, {}, batch)
    return jnp.where(mark, known, real(self, params, batch, rng, features))

  monkeypatch.setattr(Data2Vec, "predictions", by_heart)
  config = config_file.load(runs.TINY)
  config.health = {"every": 2, "start_step": 4}
  config.schedule.peak = 1e-12
  config.data.augment.flip = 0.0
  config.num_devices = 1
  config.evaluation.evaluators = {"effective_rank": {}}
  images = load_digits().images.astype(np.uint8)[..., None] * 15
  seen = images[:64].copy()
  seen[:, 0, 0] = 255
  data = {"source": seen, "train": seen, "test": images[1200:]}
  d2v_jax.train(config, tmp_path, data=data)
  (line,) = [x for x in capsys.readouterr().out.splitlines() if "Memor" in x]
  assert line.startswith(
    "verdict: of what position does not explain, predictions explain 1.000 in "
    "training examples and -"
  )
  assert "at step 6, since step 4. Memorising: targets of the" in line


# Skipping


@pytest.fixture
def poison(monkeypatch):
  """Makes the loss of some batches so many times as large."""
  take, loss = pipeline.TrainBatches.__next__, Data2Vec.loss

  def poison(bad, start=0, stop=None, factor=jnp.nan):
    """Of batches of these numbers; at that of `stop` SIGTERM comes."""

    def poisoned(self, params, teacher_params, batch, rng):
      good = loss(self, params, teacher_params, batch, rng)
      white = (batch["inputs"][0] == 255).all()
      return good._replace(value=jnp.where(white, factor, 1.0) * good.value)

    monkeypatch.setattr(Data2Vec, "loss", poisoned)
    taken = [start]

    def next_batch(self):
      taken[0] += 1
      batch = take(self)
      if taken[0] in bad:
        batch = {**batch, "inputs": np.full_like(batch["inputs"], 255)}
      if taken[0] == stop:
        os.kill(os.getpid(), signal.SIGTERM)
      return batch

    monkeypatch.setattr(pipeline.TrainBatches, "__next__", next_batch)

  return poison


@pytest.fixture
def poisoned(poison, tmp_path, capsys):
  """Runs with such batches; returns status, out, err."""

  def run(name, *arguments, **poisons):
    poison(**poisons)
    command = [*ARGUMENTS, f"--workdir={tmp_path / name}", *arguments]
    return main.main(command), *capsys.readouterr()

  return run


def params(workdir, step):
  directory = workdir / "checkpoints"
  found = {}
  for item in ("params", "teacher_params", "opt_state"):
    _, found[item] = stored_items.load_item(directory, item, step=step)
  return jax.tree.leaves(found)


def same(a, b):
  return all((x == y).all() for x, y in zip(a, b, strict=True))


@pytest.mark.slow
def test_a_bad_batch_is_skipped_and_kept(poisoned, tmp_path):
  status, out, err = poisoned(
    "one",
    "--config.checkpoint_every=1",
    "--config.checkpoints.keep_latest=12",
    bad=(5,),
  )
  assert (status, err) == (0, "")
  one, folder = tmp_path / "one", tmp_path / "one" / "bad_steps" / "5"
  assert (
    f"skipped step 5: loss is nan; what it was made of is in {folder}\n" in out
  )
  # Nothing has moved, not even the count of the schedule.
  assert same(params(one, 4), params(one, 5))
  assert not same(params(one, 5), params(one, 6))
  lines = {x["step"]: x for x in runs.metrics(one)}
  assert [s for s, x in lines.items() if x["skipped"]] == [5]
  assert [s for s, x in lines.items() if "loss" not in x] == [5]
  with np.load(folder / "batch.npz") as batch:
    assert batch["inputs"].shape == (16, 8, 8, 1)
    assert (batch["inputs"] == 255).all()
    assert batch["mask"].sum(1).tolist() == [10] * 16
  told = json.loads((folder / "step.json").read_text())
  assert (told["step"], told["config"]["seed"]) == (5, 0)
  assert len(set(told["examples"])) == 16
  assert told["examples"][0].startswith("digits/train[")
  assert [x["step"] for x in told["metrics"]] == [1, 2, 3, 4, 5]
  assert told["metrics"][-1]["loss"] == "nan"
  assert told["reason"] == "loss is nan"

  # A run that is stopped in between is the same.
  assert poisoned("two", bad=(5,), stop=6)[0] == 143
  assert poisoned("two", bad=(5,), start=6)[0] == 0
  runs.assert_same_state(one, tmp_path / "two")
  assert runs.metrics(one) == runs.metrics(tmp_path / "two")

  # Too many of them are a run that has diverged.
  few = "--config.health.max_bad_steps=2"
  status, _, err = poisoned("three", few, bad=(3, 4, 6))
  assert status == 3
  assert err.startswith("stopped: 3 of the last 1000 steps had to be skipped")

  # The first one stops a run that was told so.
  stop = "--config.health.on_bad_step=stop"
  status, _, err = poisoned("four", stop, bad=(5,))
  assert status == 3
  assert err.startswith(
    "stopped: loss is nan at step 5. Divergence: the run has diverged."
  )
  assert (tmp_path / "four" / "bad_steps" / "5" / "batch.npz").exists()


@pytest.mark.slow
def test_a_gradient_far_beyond_those_before_is_skipped(
  poisoned, poison, tmp_path, capsys
):
  limited = (
    "--config.health.max_gradient_ratio=20",
    "--config.health.patience=3",
  )
  large = {"bad": (6, 7), "factor": 1e4}
  status, out, err = poisoned("one", *limited, **large)
  assert (status, err) == (0, "")
  one, folder = tmp_path / "one", tmp_path / "one" / "bad_steps" / "7"
  lines = {x["step"]: x for x in runs.metrics(one)}
  assert [s for s, x in lines.items() if x["skipped"]] == [6, 7]
  norms = [lines[s]["grad_norm"] for s in range(1, 6)]
  assert [s for s, x in lines.items() if "grad_norm_limit" not in x] == [
    *range(1, 4)
  ]
  mean = sum(norms[:3]) / 3
  for step in (4, 5, 6):
    assert lines[step]["grad_norm_limit"] == pytest.approx(20 * mean, rel=1e-5)
    mean += (lines[step]["grad_norm"] - mean) / 3
  assert lines[7]["grad_norm_limit"] == lines[6]["grad_norm_limit"]
  told = json.loads((folder / "step.json").read_text())
  norm, limit = (lines[7][k] for k in ("grad_norm", "grad_norm_limit"))
  assert told["reason"] == (
    f"grad_norm is {norm:.4g}, and {limit:.4g} is "
    "config.health.max_gradient_ratio times its mean"
  )
  assert f"skipped step 7: {told['reason']}; what it was made of" in out

  # A run that is stopped in between is the same.
  assert poisoned("two", *limited, **large, stop=6)[0] == 143
  assert poisoned("two", *limited, **large, start=6)[0] == 0
  runs.assert_same_state(one, tmp_path / "two")
  assert runs.metrics(one) == runs.metrics(tmp_path / "two")

  # On the way to the step the one before it is skipped again.
  poison(**large, start=4)
  assert replay.main([str(folder)]) == 0
  first, second, _ = capsys.readouterr().out.splitlines()
  assert first.startswith("step 7, from the checkpoint of step 4: loss ")
  assert first.endswith(", as in the run")
  assert second == (
    "loss and gradients are finite, operation by operation; in the run "
    f"{told['reason']}"
  )
