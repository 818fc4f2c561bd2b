import math

import numpy as np
import pytest

from tests.goldens import schedules
from tests.goldens.made_up import check, skips


def fairseq_polynomial(n, *, lr, warmup, total, end, power):
  if n <= warmup and warmup:
    return n / warmup * lr
  if n >= total:
    return end
  left = 1 - (n - warmup) / (total - warmup)
  return (lr - end) * left**power + end


@pytest.mark.parametrize("warmup", [0, 7])
def test_polynomials_of_the_reference(warmup):
  steps = np.arange(130)
  options = {
    "lr": 0.3,
    "max_update": 120,
    "total_num_update": 90,
    "warmup_updates": warmup,
    "end_learning_rate": 0.01,
    "power": 2.5,
    "force_anneal": None,
  }
  rates = [
    fairseq_polynomial(n, lr=0.3, warmup=warmup, total=90, end=0.01, power=2.5)
    for n in steps.tolist()
  ]
  arrays = {"steps": steps, "lr": np.array(rates)}
  check(schedules.GROUPS, "polynomial", options, arrays)
  with pytest.raises(AssertionError, match="Mismatched"):
    check(schedules.GROUPS, "polynomial", options | {"power": 2.4}, arrays)
  with skips("force_anneal=3: not built here"):
    check(schedules.GROUPS, "polynomial", options | {"force_anneal": 3}, arrays)


def fairseq_cosine(n, *, lr, warmup, period, start, final, shrink):
  if n < warmup:
    return start + n * (lr - start) / warmup
  i, t = divmod(n - warmup, period)
  low, high = final * shrink**i, lr * shrink**i
  return low + 0.5 * (high - low) * (1 + math.cos(math.pi * t / period))


def test_cosines_of_the_reference():
  def rates(steps, **options):
    arguments = {"lr": 0.3, "warmup": 5, "shrink": 0.1} | options
    return np.array([fairseq_cosine(n, **arguments) for n in steps.tolist()])

  steps = np.arange(60)
  options = {"lr": 0.3, "max_update": 60, "warmup_updates": 5, "min_lr": 0.02}
  # Without a rate to start from, the last one is it.
  longer = options | {"lr_period_updates": 80, "t_mult": 2, "lr_shrink": 0.1}
  lr = rates(steps, period=80, start=0.02, final=0.02)
  check(schedules.GROUPS, "cosine", longer, {"steps": steps, "lr": lr})
  own = options | {"warmup_init_lr": 0.1}
  lr = rates(steps, period=55, start=0.1, final=0.02)
  check(schedules.GROUPS, "cosine", own, {"steps": steps, "lr": lr})
  again = options | {"lr_period_updates": 20}
  lr = rates(steps, period=20, start=0.02, final=0.02)
  with skips("lr_period_updates=20: repeated periods"):
    check(schedules.GROUPS, "cosine", again, {"steps": steps, "lr": lr})
