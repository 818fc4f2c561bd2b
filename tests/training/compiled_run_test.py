import dataclasses

import jax
import numpy as np
import pytest

from d2v_jax import config_file
from d2v_jax.evaluators import EVALUATORS
from d2v_jax.models.pooled_head import PooledHead
from d2v_jax.objectives.supervised import Classification
from d2v_jax.training import optimizer
from d2v_jax.training.build import from_config
from d2v_jax.training.checkpoints.checkpoint import Checkpoints
from d2v_jax.training.compiled_run import CompiledRun
from d2v_jax.training.experiment import Experiment
from tests import runs


@pytest.fixture(scope="module")
def pretraining() -> Experiment:
  config = config_file.load(str(runs.ROOT / runs.TINY))
  config_file.override(config, "num_devices", "2")
  return from_config(config)


def fine_tuning(pretraining, workdir="", **kwargs):
  """The same network, data with labels, and another objective."""
  objective = Classification(pretraining.objective.encoder, PooledHead(10))
  shapes = dict(pretraining.example_batch)
  del shapes["mask"]
  shapes["label"] = jax.ShapeDtypeStruct((16,), np.int32)
  scores = {"scores": EVALUATORS["classification"]()}
  return dataclasses.replace(
    pretraining,
    objective=objective,
    example_batch=shapes,
    seed=1,
    init_from=str(workdir),
    evaluation=dataclasses.replace(pretraining.evaluation, evaluators=scores),
    **kwargs,
  )


@pytest.fixture(scope="module")
def pretrained(pretraining, tmp_path_factory):
  """A workdir with a checkpoint, and its student."""
  workdir = tmp_path_factory.mktemp("pretrained")
  state = CompiledRun(pretraining).init_state()
  checkpoints = Checkpoints(workdir / "checkpoints")
  checkpoints.save(1, {"params": state.params}, {})
  checkpoints.close()
  return workdir, state.params


def leaves(params):
  return {
    optimizer.path_name(path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params)
  }


def test_fine_tuning_takes_all_but_the_head(pretraining, pretrained):
  workdir, params = pretrained
  state = CompiledRun(fine_tuning(pretraining, workdir)).init_state()
  alone = CompiledRun(fine_tuning(pretraining)).init_state()
  student, fresh = leaves(params), leaves(alone.params)
  for name, leaf in leaves(state.params).items():
    source = fresh if name.startswith("head/") else student
    np.testing.assert_array_equal(leaf, source[name], err_msg=name)
  assert state.params["head"]["fc1"]["kernel"].shape == (16, 10)
  assert state.teacher_params == alone.teacher_params == {}
  assert (
    fresh["feature_encoder/proj/kernel"]
    != student["feature_encoder/proj/kernel"]
  ).any()


def test_data2vec_takes_the_head_too(pretraining, pretrained):
  workdir, params = pretrained
  again = dataclasses.replace(pretraining, seed=1, init_from=str(workdir))
  state = CompiledRun(again).init_state()
  for tree in (state.params, state.teacher_params):
    for name, leaf in leaves(tree).items():
      np.testing.assert_array_equal(leaf, leaves(params)[name], err_msg=name)


@pytest.mark.parametrize("how", ["absent", "extra", "shape"])
def test_another_network_is_an_error(pretraining, pretrained, tmp_path, how):
  _, params = pretrained
  params = dict(params)
  if how == "absent":
    del params["mask_token"]
  elif how == "extra":
    params["decoder"] = params["mask_token"]
  else:
    params["mask_token"] = params["mask_token"][..., :8]
  checkpoints = Checkpoints(tmp_path / "checkpoints")
  checkpoints.save(1, {"params": params}, {})
  checkpoints.close()
  name = "decoder" if how == "extra" else "mask_token"
  with pytest.raises(ValueError, match=f"init_from must .*\n  params/{name}: "):
    CompiledRun(fine_tuning(pretraining, tmp_path)).init_state()


def test_evaluates_predictions(pretraining):
  compiled = CompiledRun(fine_tuning(pretraining))
  state = compiled.init_state()
  results = compiled.evaluate(state.params, state.teacher_params)
  measured = ("accuracy", "f1", "accuracy_f1", "matthews", "top5_accuracy")
  assert list(results) == [f"scores/{name}" for name in measured]
  assert 0 <= results["scores/accuracy"] < 0.5


def test_data2vec_predicts_nothing(pretraining):
  scores = {"scores": EVALUATORS["classification"]()}
  evaluation = dataclasses.replace(pretraining.evaluation, evaluators=scores)
  compiled = CompiledRun(
    dataclasses.replace(pretraining, evaluation=evaluation)
  )
  state = compiled.init_state()
  with pytest.raises(ValueError, match="the objective makes none"):
    compiled.evaluate(state.params, state.teacher_params)


def test_unknown_frozen_sub_trees(pretraining):
  tx = optimizer.adamw(pretraining.schedule, frozen=("extractor",))
  with pytest.raises(ValueError, match=r"no sub-tree extractor .* blocks, "):
    CompiledRun(dataclasses.replace(pretraining, tx=tx))
