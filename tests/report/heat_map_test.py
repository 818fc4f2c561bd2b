"""Darker squares are higher values."""

import re

from d2v_jax.report.heat_map import heat_map


def test_squares_are_the_values():
  figure = heat_map(
    "share by layer",
    {"layer 0": [(0, 0.0), (10, 0.5)], "layer 1": [(0, 1.0), (10, 0.25)]},
  )
  found = {}
  for square in figure.iter("rect"):
    row, step, value = re.fullmatch(
      r"(layer \d), step (\d+): (.+)", square.find("title").text
    ).groups()
    share = (float(square.get("fill-opacity")) - 0.06) / 0.94
    assert abs(share - float(value)) < 1e-3  # 0 to 1, as values here
    found[row, int(step)] = float(value)
  assert found == {
    ("layer 0", 0): 0.0,
    ("layer 0", 10): 0.5,
    ("layer 1", 0): 1.0,
    ("layer 1", 10): 0.25,
  }
  assert figure.find("svg").get("aria-label") == (
    "share by layer: layer 0 0 at first, 0.5 at last; layer 1 1 at first, 0.25 "
    "at last."
  )


def test_many_steps_keep_the_last():
  points = [(step, step / 999) for step in range(1000)]
  figure = heat_map("x by layer", {"layer 0": points})
  titles = [x.find("title").text for x in figure.iter("rect")]
  assert len(titles) <= 42
  assert "step 999" in titles[-1]
