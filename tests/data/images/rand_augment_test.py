import collections
import pickle

import numpy as np
import pytest

from d2v_jax import config as config_lib
from d2v_jax.data.images import rand_augment
from d2v_jax.data.images.operations import OPERATIONS, SIGNED
from d2v_jax.data.images.rand_augment import RandAugment
from tests.data.images.pictures import blurred, noise


def record(monkeypatch):
  """Replaces operations by ones that note what they are given."""
  seen = collections.defaultdict(list)

  def noting(name):
    def operation(image, strength, fill):
      seen[name].append(strength)
      return image

    return operation

  monkeypatch.setattr(
    rand_augment, "OPERATIONS", {name: noting(name) for name in OPERATIONS}
  )
  return seen


def test_draws(monkeypatch):
  seen = record(monkeypatch)
  rng, image, draws = np.random.default_rng(0), noise(), 15_000
  augment = RandAugment()
  for _ in range(draws // 2):
    augment(image, rng)
  assert seen.keys() == OPERATIONS.keys()
  expected = draws / 2 / 15
  for name, strengths in seen.items():
    assert abs(len(strengths) - expected) < 5 * np.sqrt(expected), name
    negative = np.mean(np.array(strengths) < 0)
    assert abs(negative - 0.5 * (name in SIGNED)) < 0.12, name
  sizes = np.abs(np.concatenate(list(seen.values())))
  assert sizes.max() == 1.0
  # A normal distribution cut at two standard deviations.
  assert abs(np.mean(sizes == 1.0) - 0.0228) < 0.01
  assert abs(np.median(sizes) - 0.9) < 0.003
  assert abs(np.mean(sizes < 0.85) - 0.1587) < 0.02


def test_layers_and_strength(monkeypatch):
  seen = record(monkeypatch)
  augment = RandAugment(magnitude=3.0, std=0.0, layers=5)
  for i in range(100):
    augment(noise(), np.random.default_rng(i))
  strengths = np.concatenate(list(seen.values()))
  assert 200 < len(strengths) < 300
  np.testing.assert_array_equal(np.abs(strengths), 0.3)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_generator_decides(channels):
  image, before = blurred(channels), blurred(channels)
  augment = RandAugment(layers=4)
  copy = pickle.loads(pickle.dumps(augment))
  different = 0
  for seed in range(40):
    out = augment(image, np.random.default_rng(seed))
    assert out.shape == image.shape and out.dtype == np.uint8
    again = copy(image, np.random.default_rng(seed))
    np.testing.assert_array_equal(out, again)
    different += not np.array_equal(out, image)
  np.testing.assert_array_equal(image, before)
  assert different > 30


@pytest.mark.parametrize(
  ("fill", "channels", "level"),
  [
    ((124, 116, 104), 3, [124, 116, 104]),
    ((124, 116, 104), 1, [117]),
    ((7,), 1, [7]),
    ((7,), 3, [7, 7, 7]),
  ],
)
def test_fill(monkeypatch, fill, channels, level):
  only = {"translate_x": OPERATIONS["translate_x"]}
  monkeypatch.setattr(rand_augment, "OPERATIONS", only)
  augment = RandAugment(10.0, 0.0, 9, fill)  # some are applied
  out = augment(noise(channels), np.random.default_rng(0))
  filled = np.all(out == level, -1).mean(0)
  assert (filled == 1).sum() >= 0.45 * out.shape[1] - 1


def test_from_a_config():
  section = {"magnitude": 5, "layers": 3, "fill": [1, 2, 3]}
  policy = config_lib.call(RandAugment, section, "config")
  assert policy == RandAugment(5, layers=3, fill=(1, 2, 3))
  hash(policy)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"magnitude": 11}, "magnitude must be 0 to 10, got 11"),
    ({"std": float("nan")}, "std must be 0 to 10, got nan"),
    ({"std": -1.0}, "std must be 0 to 10, got -1.0"),
    ({"layers": 0}, "layers must be 1 to 100, got 0"),
    ({"fill": (1, 2)}, r"one or three levels, 0 to 255, got \(1, 2\)"),
    ({"fill": (300,)}, "one or three levels"),
  ],
)
def test_errors(arguments, message):
  with pytest.raises(ValueError, match=message):
    RandAugment(**arguments)
