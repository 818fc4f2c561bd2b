import itertools

import numpy as np
import pytest

from d2v_jax.data import length_report


def wasted(lengths, ends):
  held = np.array(sorted(ends))[np.searchsorted(sorted(ends), lengths)]
  return held.sum()


@pytest.mark.parametrize("seed", range(5))
def test_best_buckets_are_the_best_of_all(seed):
  rng = np.random.default_rng(seed)
  lengths = np.concatenate(
    [rng.integers(5, 9, 40), rng.integers(30, 45, 9), [100, 101]]
  )
  for number in (1, 2, 3, 4):
    found = length_report.best_buckets(lengths, number)
    assert found.lengths[-1] == 101 and len(found.lengths) <= number
    ends = np.unique(lengths)
    least = min(
      wasted(lengths, (*some, 101))
      for some in itertools.combinations(ends[:-1], number - 1)
    )
    assert wasted(lengths, found.lengths) == least
    share = 1 - lengths.sum() / least
    assert length_report.padding(lengths, found) == pytest.approx(share)


def test_buckets_are_multiples_and_hold_all():
  lengths = np.random.default_rng(0).integers(1, 10**6, 5000)
  found = length_report.best_buckets(lengths, 4, 800)
  assert len(found.lengths) == 4 and found.lengths[-1] >= lengths.max()
  assert not any(length % 800 for length in found.lengths)
  assert (
    length_report.padding(lengths, found) < 0.201
  )  # four even ones waste a fifth
  assert length_report.best_buckets(np.array([7, 7])).lengths == (7,)


def test_quantiles():
  found = length_report.quantiles(np.arange(101) / 10)
  assert found[0] == 0 and found[50] == 5 and found[100] == 10
