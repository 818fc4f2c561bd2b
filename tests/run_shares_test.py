"""Lengths that follow the length of the run."""

import ml_collections
import pytest

from d2v_jax import config_file, run_shares
from d2v_jax.config import ConfigError
from d2v_jax.training import build


def test_shares_become_updates():
  config = {
    "total_steps": 650,
    "log_every": "1%",
    "schedule": {"warmup_steps": "10%", "hold_steps": 7, "peak": 1e-3},
    "objective": {"ema": {"anneal_steps": "100%"}, "note_steps": "all"},
    "health": {"start_step": "0.01%"},
    "evaluation": {"every": "0%"},
    "data": {"source": {"path": "50%"}},
  }
  assert run_shares.resolved(config) == {
    "total_steps": 650,
    "log_every": 6,
    "schedule": {"warmup_steps": 65, "hold_steps": 7, "peak": 1e-3},
    "objective": {"ema": {"anneal_steps": 650}, "note_steps": "all"},
    "health": {"start_step": 1},
    "evaluation": {"every": 0},
    "data": {"source": {"path": "50%"}},
  }
  assert config["schedule"]["warmup_steps"] == "10%"


def test_more_than_the_run_is_refused():
  config = {"total_steps": 9, "a": {"b_steps": "101%"}}
  with pytest.raises(
    ConfigError, match=r"^config.a.b_steps: got '101%'; a share of the run is"
  ):
    run_shares.resolved(config)


def test_a_run_of_another_length_keeps_its_proportions():
  config = config_file.load("digits")
  config_file.override(config, "total_steps", "400")
  plan = build.plan(config)
  # Half as long as shipped, where these are 80, 800, 200 and 200.
  assert float(plan.schedule(40)) == pytest.approx(config.schedule.peak)
  assert plan.objective.ema.anneal_steps == 400
  assert plan.health.start_step == 100
  assert plan.evaluation.fields.every == 100
  assert plan.config["schedule"]["warmup_steps"] == "10%"  # as it was written


def test_a_length_is_set_either_way():
  config = ml_collections.ConfigDict({"a_steps": "10%", "every": 5, "b": "10%"})
  config_file.override(config, "a_steps", "60")
  config_file.override(config, "every", "2.5%")
  config_file.override(config, "b", "60")
  assert config.to_dict() == {"a_steps": 60, "every": "2.5%", "b": "60"}
  for text in ("often", "2.5", "true"):
    with pytest.raises(
      ConfigError, match="it is updates, as a number or a share"
    ):
      config_file.override(config, "every", text)


def test_what_a_short_run_does_not_reach(caplog):
  config = config_file.load("digits")
  with config.ignore_type():
    config.objective.ema.anneal_steps = 801
    config.health.start_step = 900
  build.plan(config)
  assert "the teacher's decay never gets to its end; give it" in caplog.text
  assert "health.start_step=900 is more than config.total_steps" in caplog.text
  caplog.clear()
  build.plan(config_file.load("digits"))
  assert not caplog.records
