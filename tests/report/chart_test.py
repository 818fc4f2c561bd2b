"""The points of a chart are those of its lines, by its own ticks."""

import re

import numpy as np

from d2v_jax.report import chart as chart_lib
from d2v_jax.report.chart import Line, chart, shown


def ticks(figure, kind):
  """Places and values of an axis, as its texts say them."""
  texts = [x for x in figure.iter("text") if x.get("class") == kind]
  places = [float(x.get(kind)) for x in texts]
  return places, [float(x.text.replace(",", "")) for x in texts]


def points(figure):
  """(step, value) of each line, read off by a straight line through ticks."""
  maps = [np.polyfit(*ticks(figure, kind), 1) for kind in "xy"]
  found = []
  for line in figure.iter("polyline"):
    pairs = [x.split(",") for x in line.get("points").split()]
    at = np.array(pairs, float)
    found.append(
      np.stack([np.polyval(m, at[:, i]) for i, m in enumerate(maps)], 1)
    )
  return found


def test_points_are_those_of_the_lines():
  a = [(0, 1.0), (50, 3.5), (100, 2.25)]
  b = [(20, 1.5), (80, 1.25)]
  figure = chart("loss", [Line("a", a), Line("b", b)])
  found = points(figure)
  np.testing.assert_allclose(found[0], a, atol=0.02)
  np.testing.assert_allclose(found[1], b, atol=0.02)


def test_lines_differ_in_more_than_colour():
  lines = [Line(f"r{i}", [(0, i), (1, i + 1)]) for i in range(3)]
  figure = chart("loss", lines)
  groups = [x for x in figure.iter("g") if "line" in x.get("class")]
  marks = [re.sub("[^a-z]", "", g.find("path").get("d")) for g in groups]
  assert len(set(marks)) == 3
  labels = [
    x for x in figure.iter("text") if x.get("class", "").startswith("label")
  ]
  assert [x.text for x in labels] == ["r2 3", "r1 2", "r0 1"]  # from the top


def test_labels_do_not_overlap():
  lines = [Line(f"run {i}", [(0, 1.0), (1, 1.0 + i / 1e3)]) for i in range(9)]
  figure = chart("loss", lines)
  places = [
    float(x.get("y"))
    for x in figure.iter("text")
    if x.get("class", "").startswith("label")
  ]
  assert len(places) == 9
  assert np.diff(sorted(places)).min() >= 12
  assert max(places) < chart_lib.HEIGHT


def test_references_lie_at_their_values():
  figure = chart("accuracy", [Line("x", [(0, 0.0), (1, 1.0)])], {"pixels": 0.5})
  (level,) = [x for x in figure.iter("line") if x.get("class") == "reference"]
  value = np.polyval(np.polyfit(*ticks(figure, "y"), 1), float(level.get("y1")))
  assert abs(value - 0.5) < 0.01
  assert "pixels 0.5" in "".join(figure.itertext())


def test_it_is_told_in_words():
  figure = chart("loss", [Line("a", [(0, 4), (9, 1), (10, 2)])], {"x": 3})
  assert figure.find("svg").get("aria-label") == (
    "loss: a from 4 at step 0 to 2 at step 10, lowest 1, highest 4; for "
    "comparison x 3."
  )


def test_long_lines_keep_their_ends_and_extremes():
  values = np.random.default_rng(0).normal(size=5000)
  line = list(enumerate(values.tolist()))
  found = chart_lib.thinned(line)
  assert len(found) <= 420
  assert found[0] == line[0] and found[-1] == line[-1]
  assert {max(line, key=lambda p: p[1]), min(line, key=lambda p: p[1])} <= set(
    found
  )
  assert [p[0] for p in found] == sorted(p[0] for p in found)


def test_shown():
  assert [shown(x) for x in (0, 0.96, 2e-4, 1.5e-7, 12345.6, 1e7)] == [
    "0",
    "0.96",
    "2e-4",
    "1.5e-7",
    "12,346",
    "1e7",
  ]
