import json

import pytest

from d2v_jax import config as config_lib
from d2v_jax import config_file
from d2v_jax.training.inherited import inherit

TINY = config_lib.plain(config_file.load("tests/configs/tiny.py"))


@pytest.fixture
def run(tmp_path):
  """Workdir of a run that has begun."""
  workdir = tmp_path / "run"
  workdir.mkdir()
  (workdir / "run.json").write_text(json.dumps({"config": TINY}))
  return workdir


def test_what_a_config_leaves_out(run):
  got = inherit({"init_from": str(run), "encoder": {"drop_path": 0.5}})
  assert got["encoder"] == {**TINY["encoder"], "drop_path": 0.5}
  assert got["modality"] == "vision"
  data = {k: TINY["data"][k] for k in ("channels", "resize_ratio")}
  assert got["data"] == data


def test_names_of_classes_come_with_the_head(tmp_path):
  head = {"name": "classification"}
  config = {"objective": head, "data": {"classes": ["b", "a"]}}
  (tmp_path / "run.json").write_text(json.dumps({"config": config}))
  got = inherit({"init_from": str(tmp_path), "objective": head})
  assert got["data"] == {"classes": ("b", "a")}
  other = {"init_from": str(tmp_path), "objective": {"name": "ctc"}}
  assert "data" not in inherit(other)


def test_what_signals_are_normalised_by(tmp_path):
  data = {"mean": [1.0], "std": [2.0], "resample": True}
  config = {"modality": "signal", "encoder": {"rate": 10.0}, "data": data}
  (tmp_path / "run.json").write_text(json.dumps({"config": config}))
  got = inherit({"init_from": str(tmp_path), "data": {"buckets": None}})
  assert got["data"] == {"mean": (1.0,), "std": (2.0,), "buckets": None}


def test_nothing_without_init_from():
  spec = {"encoder": {"drop_path": 0.5}, "init_from": ""}
  assert inherit(spec) == spec


def test_a_run_that_has_begun_remembers(run, tmp_path):
  spec = {"init_from": str(tmp_path / "gone"), "encoder": {}}
  with pytest.raises(ValueError, match="init_from must be the workdir of a r"):
    inherit(spec, tmp_path)
  record = {"config": {**spec, "encoder": {"depth": 7}}}
  (tmp_path / "run.json").write_text(json.dumps(record))
  assert inherit(spec, tmp_path)["encoder"] == {"depth": 7}
  other = {"init_from": str(run), "encoder": {}}
  assert (
    inherit(other, tmp_path)["encoder"]["depth"] == TINY["encoder"]["depth"]
  )


class TestTheSourceSObjective:
  def spec(self, run, **objective):
    return {
      "init_from": str(run),
      "objective": {"name": "source", **objective},
      "data": {"num_threads": 1},
    }

  def test_goes_on_with_its_masks(self, run):
    got = inherit(self.spec(run, ema={"start": 0.5}))
    theirs = TINY["objective"]
    assert got["objective"] == {
      **theirs,
      "ema": {**theirs["ema"], "start": 0.5},
    }
    assert got["data"]["mask"] == TINY["data"]["mask"]
    assert got["data"]["num_threads"] == 1

  def test_once_begun_it_needs_no_source(self, run, tmp_path):
    spec = self.spec(run)
    first = inherit(spec)
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "run.json").write_text(json.dumps({"config": first}))
    (run / "run.json").unlink()
    assert inherit(spec, begun) == config_lib.plain(first)

  def test_an_encoder_has_none(self, tmp_path):
    config = {"modality": "text", "encoder": {}, "objective": {}, "data": {}}
    (tmp_path / "run.json").write_text(json.dumps({"config": config}))
    with pytest.raises(ValueError, match="an encoder without an objective; na"):
      inherit(self.spec(tmp_path))

  def test_masks_that_are_not_known(self, tmp_path):
    config = {"objective": {"name": "data2vec"}, "data": {}}
    (tmp_path / "run.json").write_text(json.dumps({"config": config}))
    spec = self.spec(tmp_path)
    with pytest.raises(
      ValueError, match="which masks it had is not known; set"
    ):
      inherit(spec)
    spec["data"]["mask"] = {"name": "tokens"}
    assert inherit(spec)["objective"] == {"name": "data2vec"}

  def test_there_is_no_source(self):
    with pytest.raises(ValueError, match="init_from names; give its workdir"):
      inherit({"objective": {"name": "source"}})
