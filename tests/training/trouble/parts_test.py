"""What is measured of a network's parts, against loops over float64 numbers."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax import config_file
from d2v_jax.objectives.objective import Regressed
from d2v_jax.training import build
from d2v_jax.training.compiled_run import CompiledRun
from d2v_jax.training.trouble import parts
from tests import runs


def tokens(seed=0, rows=5, places=4, width=3):
  """Something of each position, something common, and noise."""
  rng = np.random.default_rng(seed)
  x = rng.normal(2, 1, (1, 1, width)) + rng.normal(0, 1, (1, places, width))
  x = x + rng.normal(0, 0.7, (rows, places, width))
  weight = rng.integers(0, 3, (rows, places))
  weight[:, -1] = [1, *[0] * (rows - 1)]  # a position with one example
  return x.astype(np.float32), weight.astype(np.float32)


def variances(x, weight):
  """Of a token and of one about its position's mean, unbiased, by loops."""
  x, weight = x.astype(np.float64), weight.astype(np.float64)
  every = [
    (n, weight[r, n], x[r, n])
    for r in range(len(x))
    for n in range(x.shape[1])
    if weight[r, n]
  ]

  def squares(group):
    """Sum about the mean, and what it is for unit variance."""
    total = sum(w for _, w, _ in group)
    mean = sum(w * v for _, w, v in group) / total
    about = sum(w * np.sum((v - mean) ** 2) for _, w, v in group)
    return about, total - sum(w * w for _, w, _ in group) / total

  total, spare = squares(every)
  within = [
    squares([x for x in every if x[0] == n]) for n in {x[0] for x in every}
  ]
  return total / spare, sum(a for a, _ in within) / sum(b for _, b in within)


def test_measures_as_by_hand():
  x, weight = tokens()
  x[weight == 0] = 1e4  # what does not count
  found = jax.jit(parts.measures)(x, weight)
  total, within = variances(x, weight)
  assert 0.1 < 1 - within / total < 0.95
  np.testing.assert_allclose(found.position_share, 1 - within / total, 1e-5)
  flat, w = x.reshape(-1, 3).astype(np.float64), weight.reshape(-1)
  mean_square = (np.sum(flat**2, 1) * w).sum() / w.sum()
  np.testing.assert_allclose(found.spread, math.sqrt(total / mean_square), 1e-5)
  std = flat[w > 0].std(0, ddof=1).mean()
  np.testing.assert_allclose(found.std, std, 1e-5)
  # All tokens that count, once, and rows of 0.
  rows = np.asarray(found.sample)
  assert rows.shape == x.reshape(-1, 3).shape
  some = rows[np.any(rows, 1)]
  assert sorted(map(tuple, some)) == sorted(map(tuple, flat[w > 0]))


def test_means_of_few_examples_explain_nothing_by_chance():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(3, 400, 8)).astype(np.float32)
  found = parts.measures(x, np.ones((3, 400)))
  # Means of three would explain a third.
  assert found.position_share < 0.05


@pytest.mark.parametrize("value", [0.0, 1.0, 1e4])
def test_tokens_that_are_all_the_same(value):
  x = np.full((4, 6, 5), value, np.float32)
  found = parts.measures(x, np.ones((4, 6)))
  assert found.spread < 1e-6
  assert found.position_share == 0
  assert found.std == pytest.approx(1e-3)  # sqrt of its epsilon


def test_position_alone():
  place = np.random.default_rng(0).normal(size=(1, 6, 5)).astype(np.float32)
  x = np.repeat(place, 4, 0)
  assert parts.measures(x, np.ones((4, 6))).position_share == pytest.approx(1)


def test_a_sample_of_many_tokens():
  x = np.arange(1, 1201, dtype=np.float32).reshape(30, 40, 1)
  weight = np.ones((30, 40), np.float32)
  weight[:20] = 0
  rows = np.asarray(parts.measures(x, weight).sample)[:, 0]
  assert len(rows) == 512
  some = rows[rows > 0]
  assert len(set(some)) == len(some) == 400
  assert some.min() > 800


def regression(seed=0, masks=2):
  y, _ = tokens(seed, rows=6, places=5)
  rng = np.random.default_rng(seed)
  mask = rng.random((6, masks, 5)) < 0.6
  f = np.repeat(y, masks, 0) + rng.normal(0, 0.3, (6 * masks, 5, 3))
  return Regressed(y, f.astype(np.float32), mask.reshape(-1, 5))


@pytest.mark.parametrize("masks", [1, 2])
def test_what_predictions_explain_as_by_hand(masks):
  it = regression(masks=masks)
  found = jax.jit(parts.explained)(Regressed(*map(jnp.asarray, it)))
  errors, weight = [], np.zeros((6, 5))
  for row, n in zip(*np.nonzero(it.mask), strict=True):
    y, f = it.targets[row // masks, n], it.predictions[row, n]
    errors.append(np.sum((y.astype(np.float64) - f) ** 2))
    weight[row // masks, n] += 1
  total, within = variances(it.targets, weight)
  np.testing.assert_allclose(found.all, 1 - np.mean(errors) / total, 1e-5)
  np.testing.assert_allclose(found.content, 1 - np.mean(errors) / within, 1e-5)


def test_a_constant_explains_nothing_and_means_of_positions_no_content():
  rng = np.random.default_rng(1)
  place = rng.normal(0, 2, (1, 7, 4))
  y = (place + rng.normal(0, 1, (500, 7, 4))).astype(np.float32)
  mask = np.ones((500, 7), bool)
  constant = np.broadcast_to(y.mean((0, 1)), y.shape)
  found = parts.explained(Regressed(y, constant, mask))
  assert found.all == pytest.approx(0, abs=1e-3)
  assert found.content == -1  # no worse than that
  places = np.broadcast_to(y.mean(0), y.shape)
  found = parts.explained(Regressed(y, places, mask))
  assert found.all > 0.7
  # A mean of 500 is nearer to its own by one of 500 parts.
  assert found.content == pytest.approx(0.002, abs=1e-4)


# Of runs


@pytest.fixture(scope="module")
def tiny():
  return CompiledRun(build.from_config(config_file.load(runs.TINY)))


def test_every_part_of_a_network(tiny):
  run = tiny.experiment
  state = tiny.init_state()
  batch = next(run.batches(start_step=0))
  found = tiny.parts(state.params, state.teacher_params, batch)
  names = ("features", "block_00", "block_01", "output", "targets")
  names = (*names, "predictions")
  kinds = ("std", "spread", "position_share", "rank")
  assert set(found) == {
    *(f"health/{kind}/{name}" for kind in kinds for name in names),
    "health/explained/all",
    "health/explained/content",
    "health/explained/content_held_out",
  }
  assert all(math.isfinite(x) for x in found.values())
  # Targets and the std are those of the loss.
  loss = run.objective.loss(state.params, state.teacher_params, batch, None)
  for name in ("target", "prediction"):
    assert found[f"health/std/{name}s"] == pytest.approx(
      float(loss.metrics[f"{name}_std"]), rel=1e-5
    )
  # Patches of the teacher, without positions: a linear map of the pixels.
  assert 1 < found["health/rank/features"] < 5.01
  again = tiny.parts(state.params, state.teacher_params, batch)
  assert again == found


def test_the_front_end_is_what_it_says(tiny):
  state = tiny.init_state()
  batch = next(tiny.experiment.batches(start_step=0))
  encoder = tiny.experiment.objective.encoder
  output, patches = encoder.with_front_end(state.params, batch)
  np.testing.assert_array_equal(
    output.tokens, encoder(state.params, batch).tokens
  )
  (dense,) = state.params["feature_encoder"].values()
  kernel, bias = np.asarray(dense["kernel"]), np.asarray(dense["bias"])
  x = (batch["inputs"] / 255 - 0.31) / 0.37  # [B, 8, 8, 1]
  x = x.reshape(-1, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 16, 4)
  want = x @ kernel.reshape(4, -1) + bias
  np.testing.assert_allclose(patches, want, atol=1e-5)


def test_held_out_examples_are_those_of_the_test_split(tiny):
  run = tiny.experiment
  unseen = run.held_out(24, (8, 8, 1))
  assert unseen["inputs"].shape == (24, 8, 8, 1)
  assert unseen["mask"].sum(1).tolist() == [10] * 24
  again = run.held_out(24, (8, 8, 1))
  np.testing.assert_array_equal(unseen["inputs"], again["inputs"])
  with pytest.raises(ValueError, match=r"none has inputs of \(9, 8, 1\)"):
    run.held_out(24, (9, 8, 1))

  def images(split):
    batches = run.evaluation.batches(split)
    every = [x["inputs"][x["valid"]] for x in batches]
    found = np.concatenate(every)
    return {x.tobytes() for y in (found, found[:, :, ::-1]) for x in y}

  mine = {x.tobytes() for x in unseen["inputs"]}
  assert mine <= images("test")
  assert len(mine & images("train")) < 3  # some digits are alike


def test_without_held_out_examples(tiny, caplog):
  state = tiny.init_state()
  batch = next(tiny.experiment.batches(start_step=0))

  def too_few(rows, shape):
    raise ValueError(f"fewer than {rows} of {shape}")

  objective, mesh = tiny.experiment.objective, tiny.experiment.mesh
  measured = parts.Parts(objective, mesh, too_few)
  for _ in range(2):
    found = measured(state.params, state.teacher_params, batch)
    assert "health/explained/content" in found
    assert "health/explained/content_held_out" not in found
  (message,) = [x.getMessage() for x in caplog.records]
  assert (
    message
    == "whether the run memorises is not judged: fewer than 16 of (8, 8, 1)"
  )


@dataclasses.dataclass(frozen=True)
class _Encodes:
  """An objective that regresses nothing."""

  encoder: object

  def regressed(self, params, teacher_params, batch):
    return None


def test_an_objective_without_a_regression(tiny):
  state = tiny.init_state()
  batch = next(tiny.experiment.batches(start_step=0))
  encodes = _Encodes(tiny.experiment.objective.encoder)
  found = parts.Parts(encodes, tiny.experiment.mesh)(state.params, {}, batch)
  assert {x.rpartition("/")[2] for x in found} == {
    "features",
    "block_00",
    "block_01",
    "output",
  }
