import numpy as np
import pytest

from d2v_jax.data.checking.finding import Finding
from d2v_jax.data.checking.look import Look
from d2v_jax.data.checking.opening import Split
from d2v_jax.data.checking.page import page
from d2v_jax.data.checking.read_examples import Fit, ReadExamples
from d2v_jax.data.checking.report import Report
from d2v_jax.data.checking.survey import survey
from tests.data.checking.things import Things, surveyed


def lines(surveys=(), findings=(), reading=None, others=()):
  splits = {x.name: Split(x.name) for x in (*surveys, *others)}
  names = {x.name: x for x in surveys}
  report = Report("mine", splits, names, findings, reading, "config.data")
  return page(report).splitlines()


def read(**changes):
  plain = dict(
    total=4000,
    read=100,
    seconds=2.0,
    threads=3,
    lengths={16: (8, 3000), 32: (16, 1000)},
    fit=Fit(0.0, 0.25, (24, 32), 0.22),
    kept=np.ones(100),
    num_masks=2,
    hidden=np.linspace(0, 1, 101),
    visible=5,
  )
  return lines(reading=ReadExamples(**{**plain, **changes}))


def test_many_classes_are_the_largest_and_the_smallest():
  labels = [k for k in range(30) for _ in range(k + 1)]
  shown = lines([surveyed("config.x", range(len(labels)), labels)])
  at = next(k for k, line in enumerate(shown) if line.startswith("class"))
  end = next(k for k, line in enumerate(shown) if line.startswith("(of 30 "))
  names = [int(line.split()[0]) for line in shown[at + 1 : end]]
  assert names == [*range(29, 19, -1), *range(9, -1, -1)]
  assert shown[at + 1].split() == ["29", "30", "6.5%"]
  # Those of a sample are marked.
  some = lines([surveyed("config.x", [1, 2], [0, 1], [0])])
  assert any(line.split() == ["class", "x", "(looked", "at)"] for line in some)


def test_findings_stand_first_and_are_broken():
  found = [Finding("word " * 30, stops=True), Finding("a/long/name" * 10)]
  shown = lines(findings=found)
  assert shown[0].startswith("- STOPS A RUN: word word")
  assert shown[1].startswith("  word") and len(shown[0]) <= 80
  # A name that can be copied.
  assert any("a/long/name" * 10 in line for line in shown)


def test_a_split_that_cannot_be_opened():
  survey = surveyed("config.a", [1, None, 1, 1])
  shown = lines([survey], others=[Split("config.b")])
  rows = [line.split() for line in shown]
  assert ["a", "4", "4", "1", "2"] in rows
  assert ["b", "cannot", "be", "opened"] in rows


class Signals(Things):
  """Of two channels, whose values are the square roots of their moments."""

  def look(self, record):
    mean = np.array([record["x"], -2e-6])
    numbers = {"length": record["x"], "level": record["x"] / 300}
    return Look(b"", numbers, {"rate": "1 Hz"}, np.stack([mean, mean**2]))


def test_numbers_and_where_they_go():
  source = Signals([1.0, 2.0])
  shown = lines([survey("config.a", source, source.look, [0, 1])])
  assert '  --config.data.mean="(1.5, -2e-06)"' in shown
  assert '  --config.data.std="(0.5, 0)"' in shown
  cells = [line.split() for line in shown]
  assert ["length", "1", "1.05", "1.25", "1.50", "1.75", "1.95", "2"] in cells
  level = ["level", "0.0033", "0.0035", "0.0042", "0.005", "0.0058", "0.0065"]
  assert [*level, "0.0067"] in cells
  assert "  rate: 1 Hz (2)" in shown


def test_what_training_makes():
  shown = read()
  assert shown[-8:] == [
    "In training (100 of 4,000 examples were read as it reads them):",
    "  kept of an example: 100.0% on average",
    "  batches of length 16: 8 tokens each, 3,000 examples (75%)",
    "  batches of length 32: 16 tokens each, 1,000 examples (25%)",
    "  of the batches 25.0% is padding, and 0.0% of all there is gets cropped",
    "  masks: 2, each hides 50.0% on average (5.0% to 95.0% in nine of ten)",
    "  tokens encoded with each mask: 5",
    "  50 examples a second by 3 threads here: 80.0 s for all 4,000",
  ]


@pytest.mark.parametrize(
  ("fit", "named"),
  [
    (Fit(0.0, 0.25, (24, 32), 0.22), False),
    (Fit(0.1, 0.25, (24, 64), 0.22), True),
    (Fit(0.0, 0.25, (24, 32), 0.12), True),
  ],
)
def test_other_lengths_are_named_where_they_are_better(fit, named):
  found = [line for line in read(fit=fit) if "--config.data.buckets" in line]
  assert bool(found) == named
  if named:
    assert found[0].endswith(f'.lengths="{fit.best}"')


@pytest.mark.parametrize(
  ("seconds", "text"),
  [(0.01, "400 ms"), (2.0, "80.0 s"), (20.0, "13 min"), (900.0, "10.0 h")],
)
def test_times(seconds, text):
  assert read(seconds=seconds)[-1].endswith(f"here: {text} for all 4,000")
