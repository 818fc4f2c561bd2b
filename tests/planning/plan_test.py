"""Rows of small configs, compiled for CPUs that are there."""

import jax
import pytest

from d2v_jax import config_file
from d2v_jax.planning import devices, plan
from d2v_jax.training import build
from d2v_jax.training.compiled_run import CompiledRun
from tests import runs


def load(name=str(runs.ROOT / runs.TINY), **changes):
  config = config_file.load(name)
  for path, value in changes.items():
    config_file.override(config, path, str(value))
  return config


def row_of(config, device="cpu:2", per_device=None, length=None):
  target = devices.find(device)
  run = plan.run_plan(config, target, per_device)
  return plan.compiled(run, target, length)


def num_bytes(tree):
  return sum(x.nbytes for x in jax.tree.leaves(tree) if hasattr(x, "nbytes"))


@pytest.fixture(scope="module")
def tiny():
  nowhere = {"name": "folder", "path": "there/is/none"}
  return row_of(load(**{"data.source": nowhere}), per_device=8)


def test_its_state(tiny):
  run = build.from_config(load(num_devices=2))
  state = CompiledRun(run).init_state()
  assert tiny.parts["parameters"] == num_bytes(state.params)
  assert tiny.parts["teacher"] == num_bytes(state.teacher_params)
  assert tiny.parts["optimizer"] == num_bytes(state.opt_state)
  saved = state.params, state.teacher_params, state.opt_state
  assert tiny.checkpoint_bytes == num_bytes(saved)


def test_its_memory(tiny):
  assert tiny.fits
  assert sum(tiny.parts.values()) == pytest.approx(tiny.memory_bytes)
  assert tiny.parts["activations"] > tiny.parts["parameters"]
  state = sum(tiny.parts[k] for k in ("parameters", "teacher", "optimizer"))
  # The batch, a key and the number of the step come along.
  batch = tiny.batch_bytes * 8
  assert tiny.argument_bytes == pytest.approx(state + batch, abs=64)


def test_its_gradients_are_summed_over_devices(tiny):
  # As float32, with the metrics, among them a sum at each of 16 positions.
  gradients, sums = tiny.parts["parameters"], 16 * 16 * 4
  assert gradients <= tiny.collectives["all-reduce"] <= gradients * 1.2 + sums


def test_there_is_no_time_without_peaks(tiny):
  assert tiny.time is tiny.peak_fraction is tiny.examples_per_second is None


def test_operations_are_those_of_the_network():
  """Of data2vec's three passes and the teacher's, for each token."""
  config = load()
  row = row_of(config, "cpu", per_device=16)
  encoder = row.run.objective.encoder
  width, depth = config.encoder.width, config.encoder.depth
  tokens = encoder.inputs.num_tokens + 1  # and the CLS token
  block = 12 * width**2 + 2 * tokens * width  # multiply-adds of a token
  forward = 2 * 16 * tokens * depth * block
  # Patches and the head are small beside.
  assert row.flops == pytest.approx(4 * forward, rel=0.1)
  assert row.flops > 4 * forward


def test_micro_batches(tiny):
  split = row_of(load(accumulate=4), "cpu:2", per_device=8)
  assert split.flops == pytest.approx(tiny.flops, rel=0.02)
  assert split.parts["activations"] < tiny.parts["activations"]


@pytest.mark.slow
def test_fsdp_splits_the_state():
  sizes = {"encoder.width": 192, "encoder.num_heads": 4, "encoder.depth": 2}
  row = row_of(load(sharding="fsdp", **sizes), "cpu:4", per_device=4)
  state = sum(row.parts[k] for k in ("parameters", "teacher", "optimizer"))
  assert row.checkpoint_bytes / 4 < state < 0.3 * row.checkpoint_bytes
  assert row.collectives["all-gather"] > row.parts["parameters"]


def test_scores_are_labels_that_are_no_classes():
  config = load(
    "verses",
    objective={"name": "regression", "head": {"num_outputs": 1}},
    **{"data.mask": None, "data.labels": {"name": "label"}},
  )
  config.data.packing = None
  config.evaluation = {"every": 0}
  row = row_of(config, "cpu", per_device=2, length=32)
  assert row.parts["teacher"] == 0
  assert row.flops > 0


@pytest.mark.parametrize(
  ("message", "temporary"),
  [
    (
      "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, "
      "the total memory required for HLO temporaries (27.5G) exceeds available "
      "HBM (15.75G).",
      27.5 * 2**30,
    ),
    (
      "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 2048.0M "
      "of 15.75G hbm. Exceeded hbm capacity by 5.7G.",
      2 * 2**30 - 1000,
    ),
  ],
)
def test_what_a_tpu_refuses(message, temporary):
  row = plan.Row(
    target=devices.find("cpu"),
    run=None,
    length=None,
    per_device=1,
    fits=False,
    parts={"parameters": 600, "batch": 400},
    memory_bytes=0,
    argument_bytes=1000,
    batch_bytes=400,
    checkpoint_bytes=600,
  )
  found = plan._too_large(row, message)
  assert not found.fits
  assert found.memory_bytes == pytest.approx(temporary + 1000)
  assert found.parts["activations"] == pytest.approx(temporary)
  assert sum(found.parts.values()) == pytest.approx(found.memory_bytes)
  assert found.flops is found.traffic_bytes is found.collective_bytes is None


def test_another_failure_of_a_compiler_is_one(tiny):
  with pytest.raises(ValueError, match="cpu:2: the compiler failed: INTERNAL"):
    plan._too_large(tiny, "INTERNAL: no such thing")
