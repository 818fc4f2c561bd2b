import pickle

import numpy as np
import pytest
from scipy import stats

from d2v_jax.data.recordings.augment import WaveAugment

DRAWS = 1000
LEVEL = 1e-3  # how unlikely a correct draw would have been to fail


def only(**changes):
  off = {"piece": (1.0, 1.0), "gain": 0.0, "noise": None, "gap": 0.0}
  return WaveAugment(**(off | changes))


def signal(size=1000):
  return np.random.default_rng(9).standard_normal(size).astype(np.float32)


def is_uniform(values, low, high):
  """Kolmogorov-Smirnov."""
  test = stats.kstest(values, stats.uniform(low, high - low).cdf)
  return test.pvalue > LEVEL


def test_everything_off_leaves_the_sound_alone():
  rng = np.random.default_rng(0)
  assert only().size(rng, 700, 10) == 700
  np.testing.assert_array_equal(only()(signal(), rng), signal())


def test_pieces():
  rng = np.random.default_rng(0)
  augment = WaveAugment()
  sizes = [augment.size(rng, 100_000, 400) for _ in range(DRAWS)]
  assert is_uniform(np.array(sizes) / 100_000, 0.6, 1.0)
  # Never so short that the model makes no frame of it, nor too long.
  assert {augment.size(rng, 410, 400) for _ in range(50)} <= set(
    range(400, 411)
  )
  assert augment.size(rng, 400, 400) == 400


def test_gain():
  rng = np.random.default_rng(0)
  augment = only(gain=6.0)
  ratios = []
  for _ in range(DRAWS):
    out = augment(signal(10), rng)
    assert out.dtype == np.float32
    ratio = out / signal(10)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)
    ratios.append(ratio[0])
  assert is_uniform(20 * np.log10(ratios), -6.0, 6.0)


def test_noise():
  rng = np.random.default_rng(0)
  augment = only(noise=(10.0, 30.0))
  clean = 3 * signal(4000)
  decibels = []
  for _ in range(300):
    out = augment(clean, rng)
    assert out.dtype == np.float32
    noise = (out - clean).astype(float)
    ratio = (clean.astype(float) ** 2).mean() / (noise**2).mean()
    decibels.append(10 * np.log10(ratio))
  # The power of 4000 draws is within 2 %, or 0.1 dB, of the wanted one.
  assert min(decibels) > 9.5 and max(decibels) < 30.5
  assert abs(np.mean(decibels) - 20) < stats.norm.isf(LEVEL / 2) * np.sqrt(
    20**2 / 12 / 300
  )
  standard = noise / noise.std()
  assert stats.kstest(standard, stats.norm.cdf).pvalue > LEVEL
  # White: neighbours have nothing in common.
  assert abs((standard[1:] * standard[:-1]).mean()) < 4 / np.sqrt(4000)


def test_gap():
  rng = np.random.default_rng(0)
  augment = only(gap=0.1)
  shares, starts = [], []
  for _ in range(DRAWS):
    silent = np.flatnonzero(augment(signal(), rng) == 0)
    shares.append(len(silent) / 1000)
    if len(silent):
      assert silent[-1] - silent[0] + 1 == len(silent)  # one piece
      starts.append(silent[0] / (1000 - len(silent)))
  assert is_uniform(shares, -0.0005, 0.1005)  # rounded to samples
  assert is_uniform(starts, -0.0005, 1.0005)


def test_the_sound_given_is_not_written_to():
  given = signal()
  WaveAugment()(given, np.random.default_rng(0))
  np.testing.assert_array_equal(given, signal())
  only(gap=0.5)(given, np.random.default_rng(0))
  np.testing.assert_array_equal(given, signal())


def test_only_the_generator_is_random():
  augment = pickle.loads(pickle.dumps(WaveAugment()))
  first = WaveAugment()(signal(), np.random.default_rng(3))
  np.testing.assert_array_equal(
    first, augment(signal(), np.random.default_rng(3))
  )
  assert (first != augment(signal(), np.random.default_rng(4))).any()


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"piece": (0.0, 1.0)}, r"0 < low <= high <= 1, got \(0.0, 1.0\)"),
    ({"piece": (0.5,)}, r"piece must be \(low, high\), got"),
    ({"gain": -1.0}, "gain must be 0 to 100, got -1.0"),
    ({"noise": (30.0, 10.0)}, "noise must be None or .* low <= high"),
    ({"gap": 1.0}, "gap must be at least 0 and below 1, got 1.0"),
    ({"gain": float("nan")}, "gain must be 0 to 100, got nan"),
    ({"noise": (10.0, float("inf"))}, "with -100 <= low <= high <= 100"),
  ],
)
def test_errors(arguments, message):
  with pytest.raises(ValueError, match=message):
    WaveAugment(**arguments)
