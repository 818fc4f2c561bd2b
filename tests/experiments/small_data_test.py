"""How experiments/small_data reads features, against scikit-learn."""

import json

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from d2v_jax import commands
from experiments.small_data import held_out


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
