"""Networks and batches, by hand."""

import pytest

from d2v_jax.config import ConfigError
from d2v_jax.deriving import marks, shared

OPEN = {
  "batch_size": "derived",
  "encoder": dict.fromkeys(("width", "depth", "num_heads"), "derived"),
  "objective": {"targets": {"top_k": "derived"}},
}


@pytest.mark.parametrize(
  # Of the configs that are shipped; the last ones only users give.
  ("width", "heads"),
  [(96, 4), (128, 4), (192, 6), (100, 4), (50, 2), (16, 1)],
)
def test_heads_divide_the_width(width, heads):
  chosen = marks.Chosen(OPEN)
  shared.network(chosen, width, 2, "")
  assert chosen.values["encoder.num_heads"] == heads
  assert width % heads == 0
  assert chosen.values["objective.targets.top_k"] == 2


def test_heads_follow_a_width_that_is_given():
  given = {**OPEN, "encoder": {**OPEN["encoder"], "width": 50}}
  chosen = marks.Chosen(given)
  shared.network(chosen, 128, 4, "")
  assert chosen.values["encoder.num_heads"] == 2
  assert "encoder.width" not in chosen.values


@pytest.mark.parametrize(
  ("count", "devices", "expected"),
  [
    (512, 1, 64),
    (511, 1, 32),
    (32, 1, 4),
    (10_000, 3, 66),
  ],
)
def test_batch_size(count, devices, expected):
  chosen = marks.Chosen(OPEN)
  assert shared.batch_size(chosen, count, 64, devices) == expected
  assert chosen.values == {"batch_size": expected}


def test_too_few_examples():
  with pytest.raises(ConfigError, match=r"got 3 examples .* too few .* 32 are"):
    shared.batch_size(marks.Chosen(OPEN), 3, 64, 1)
  given = marks.Chosen({**OPEN, "batch_size": 2})
  assert shared.batch_size(given, 3, 64, 1) == 2
