"""The candidates of experiments/small_data, and how features are read there."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from d2v_jax import commands
from d2v_jax.models.heads import LinearHead
from d2v_jax.objectives import OBJECTIVES
from d2v_jax.objectives.targets import TARGET_NORMS
from d2v_jax.training import build
from experiments.small_data import candidates, held_out
from tests.objectives import data2vec_test


def _examples(features):
  rng = np.random.default_rng(1)
  y = rng.integers(0, 4, 150).astype(np.int32)
  x = rng.normal(size=(150, features)) * rng.uniform(0.1, 5, features) + 3
  x[:, :4] += 4 * np.eye(4)[y]
  return x.astype(np.float32), y


@pytest.mark.parametrize("features", [9, 200])
def test_least_squares_is_ridge_regression(features):
  x, y = _examples(features)
  part = held_out.folds(len(x))
  assert sorted(np.bincount(part)) == [30] * held_out.FOLDS
  accuracies = []
  for penalty in held_out.PENALTIES:
    right = 0
    for i in range(held_out.FOLDS):
      scaler = StandardScaler().fit(x[part != i])
      z = scaler.transform(x).astype(np.float64)
      ridge = Ridge(alpha=penalty * np.sum(part != i))
      ridge.fit(z[part != i], np.eye(4)[y[part != i]])
      predicted = ridge.predict(z[part == i]).argmax(-1)
      right += np.sum(predicted == y[part == i])
    accuracies.append(right / len(x))
  assert len(set(accuracies)) > 1
  best = int(np.argmax(accuracies))
  expected = accuracies[best], held_out.PENALTIES[best]
  assert held_out.least_squares(x, y) == expected


def test_neighbours_are_of_the_other_parts():
  x, y = _examples(9)
  part, right = held_out.folds(len(x)), 0
  for i in range(held_out.FOLDS):
    nearest = KNeighborsClassifier(
      20, weights=lambda d: np.exp((1 - d) / 0.07), metric="cosine"
    ).fit(x[part != i], y[part != i])
    right += np.sum(nearest.predict(x[part == i]) == y[part == i])
  assert held_out.neighbours(x, y) == right / len(x)


def test_test_digits_are_read_on_demand_alone(tmp_path, monkeypatch, capsys):
  options = (
    "total_steps=2",
    "checkpoint_every=2",
    "encoder.width=16",
    "encoder.num_heads=2",
    "evaluation.every=0",
    "evaluation.evaluators=None",
    "health.every=0",
    "num_devices=1",
  )
  run = str(tmp_path / "run")
  flags = [f"--config.{option}" for option in options]
  assert commands.main(["train", "digits", f"--workdir={run}", *flags]) == 0
  opened, images = [], held_out.digits

  def digits(split):
    opened.append(split)
    return images(split)

  monkeypatch.setattr(held_out, "digits", digits)
  capsys.readouterr()
  assert held_out.main([run]) == 0
  first = json.loads(capsys.readouterr().out)["run"]
  assert opened == ["train"]
  assert first["config"]["encoder"]["width"] == 16
  assert len(first["held_out"]) == len(held_out.POOLS) * (3 + 1)

  assert held_out.main(["--test", run]) == 0
  second = json.loads(capsys.readouterr().out)["run"]
  assert opened == ["train", "train", "test"]
  assert second["held_out"] == first["held_out"]
  for evaluator, read in second["test"].items():
    accuracies = {k: v[evaluator] for k, v in first["held_out"].items()}
    assert accuracies[read["reading"]] == max(accuracies.values())
    assert 0.1 < read["accuracy"] <= 1


@pytest.fixture
def x64():
  with jax.enable_x64(True):
    yield


@pytest.fixture
def tables():
  """What the configs add is taken out again."""
  yield
  for name in ("candidate", "stacked"):
    OBJECTIVES.pop(name)
  TARGET_NORMS.pop("tanh")


@pytest.mark.parametrize("name", candidates.CHANGES)
def test_candidates_have_what_they_are_called_by(tables, name):
  config = candidates.get_config(name)
  config.num_devices = 1
  objective = build.from_config(config).objective
  added = ("shift", "masks", "variance", "covariance")
  defaults = {name: getattr(candidates.Candidate, name) for name in added}
  found = {name: getattr(objective, name) for name in added}
  changed = dict(found.items() - defaults.items())
  norms = objective.targets.layer_norms
  expected = {
    "shift": {"shift": 1},
    "masks_2": {"masks": 2},
    "masks_4": {"masks": 4},
    "variance": {"variance": 0.1, "covariance": 0.01},
    "variance_10": {"variance": 1.0, "covariance": 0.1},
  }
  assert changed == expected.get(name, {})
  assert ("tanh" in norms) == name.startswith("tanh")
  assert (type(objective) is candidates.Stacked) == (name == "stacked")


def test_an_unknown_candidate_is_an_error():
  with pytest.raises(ValueError, match="choose one of: shift, stacked"):
    candidates.get_config("shifted")


def _candidate(kind=candidates.Candidate, **changes):
  """A candidate, with parameters, a teacher and a batch in float64."""
  objective, params, teacher, batch = data2vec_test.make(
    dtype="float64", targets={"output": "ffn", "layer_norms": ("instance",)}
  )
  fields = {x.name for x in dataclasses.fields(objective)}
  kept = {name: getattr(objective, name) for name in fields}
  return kind(**kept | changes), params, teacher, batch


def _value(candidate, params, teacher, batch):
  rng = jax.random.key(0)
  loss = jax.jit(candidate.loss)(params, teacher, batch, rng)
  return float(loss.value)


@pytest.mark.usefixtures("x64")
class TestCandidates:
  def test_without_a_change_it_is_data2vec(self):
    plain, *given = _candidate(data2vec_test.Data2Vec)
    candidate, *_ = _candidate()
    assert _value(candidate, *given) == pytest.approx(_value(plain, *given))

  def test_more_masks_are_as_many_losses(self):
    plain, params, teacher, batch = _candidate()
    losses = [
      _value(
        plain, params, teacher, {**batch, "mask": np.roll(batch["mask"], i, 0)}
      )
      for i in range(2)
    ]
    assert losses[0] != pytest.approx(losses[1])
    two, *_ = _candidate(masks=2)
    value = _value(two, params, teacher, batch)
    assert value == pytest.approx(np.mean(losses))

  def test_variance_and_covariance(self):
    plain, params, teacher, batch = _candidate()
    output = plain.encoder(params, batch, mask=batch["mask"]).tokens
    rest = np.asarray(output - output.mean(0)).reshape(-1, output.shape[-1])
    covariance = rest.T @ rest / len(rest)
    std = np.sqrt(np.diag(covariance) + 1e-4)
    assert (std < 0.5).any()
    small = np.maximum(0, 0.5 - std).mean()
    others = covariance - np.diag(np.diag(covariance))
    expected = 0.3 * small + 0.2 * (others**2).sum() / len(std)
    changed, *_ = _candidate(variance=0.3, covariance=0.2)
    given = params, teacher, batch
    added = _value(changed, *given) - _value(plain, *given)
    assert added == pytest.approx(expected)

  def test_only_the_students_image_moves(self):
    images = np.arange(2 * 4 * 4, dtype=np.float64).reshape(2, 4, 4, 1) + 1
    for seed in range(6):
      moved = candidates.shifted(images, jax.random.key(seed), 1)
      for image, found in zip(images[..., 0], moved[..., 0], strict=True):
        around = np.pad(image, 1)
        places = [
          around[y : y + 4, x : x + 4] for y in range(3) for x in range(3)
        ]
        assert sum(np.array_equal(found, place) for place in places) == 1
    plain, params, teacher, batch = _candidate()
    candidate, *_ = _candidate(shift=1)
    rng = jax.random.key(0)
    found = jax.jit(candidate.loss)(params, teacher, batch, rng)
    expected = jax.jit(plain.loss)(params, teacher, batch, rng)
    assert found.metrics["target_std"] == expected.metrics["target_std"]
    assert found.value != pytest.approx(float(expected.value))

  def test_layers_side_by_side(self):
    plain, params, teacher, batch = _candidate()
    width = data2vec_test.WIDTH
    stacked, *_ = _candidate(
      candidates.Stacked, head=LinearHead(2 * width, "float64")
    )
    y = np.asarray(jax.jit(stacked.teacher_targets)(params, teacher, batch))
    assert y.shape == (3, 9, 2 * width)
    np.testing.assert_allclose(y.mean(1), 0, atol=1e-12)
    mean = y.reshape(3, 9, 2, width).mean(2)
    average = jax.jit(plain.teacher_targets)(params, teacher, batch)
    np.testing.assert_allclose(mean, average, rtol=1e-9)
    head = stacked.init(jax.random.key(0), batch)["head"]
    value = _value(stacked, {**params, "head": head}, teacher, batch)
    f = stacked.predictions({**params, "head": head}, batch, None)
    error = np.abs(np.asarray(f) - y)[batch["mask"]]
    beta = stacked.loss_beta
    each = np.where(error < beta, error**2 / 2 / beta, error - beta / 2)
    assert value == pytest.approx(each.mean())
