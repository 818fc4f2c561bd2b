"""Updates that fit into a time, by hand."""

import pytest

from d2v_jax.config import ConfigError
from d2v_jax.deriving.run_length import Timing, most_updates, updates


@pytest.mark.parametrize(
  ("every", "evaluation", "expected"),
  [
    # 600 s less 60 that are over and 40 to start: 500, of which 475 are used.
    (0, 0.0, 950),
    # Two of 10 s: 480 s, of which 456.
    (0, 10.0, 912),
    # Five: at the start, at three quarters on the way, and at the end.
    ("25%", 10.0, 855),
    # Each 20th update takes 10 s more: (480 x 0.95) / (0.5 + 0.5).
    (20, 10.0, 456),
  ],
)
def test_updates(every, evaluation, expected):
  cost = Timing(start=40.0, update=0.5, evaluation=evaluation)
  assert updates(10.0, 60.0, cost, every) == expected


def test_too_little_time():
  cost = Timing(start=40.0, update=0.5, evaluation=3.0)
  said = r"got 1, too few: 10 s are over, .* 0\.5 s, .* 7 updates are left"
  with pytest.raises(ConfigError, match=said):
    updates(1.0, 10.0, cost, 0)
  with pytest.raises(ConfigError, match="0 updates are left of at least 100"):
    updates(0.5, 100.0, cost, 0)


def test_most_updates():
  assert most_updates(1_280, 64) == 16_000
  assert most_updates(4, 64) == 100
