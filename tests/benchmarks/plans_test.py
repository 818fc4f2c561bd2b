"""The table of plans has every recipe, and is the one of the page."""

import json

import pytest

from benchmarks import plans
from d2v_jax import config_file, probe
from d2v_jax.planning import command
from d2v_jax.run_arguments import parse_flags
from tests import runs


def test_every_recipe_that_trains_is_planned():
  configs = {p.stem for p in (runs.ROOT / "configs").glob("*.py")}
  train = {c for c in configs if not probe.is_probe(config_file.load(c))}
  assert train == {case.config.partition(":")[0] for case in plans.CASES}


def test_commands():
  found = plans.commands({"vit_large"}, "v5e")
  assert found == [
    ["plan", "vit_large", "--device=v5e:2x2", "--per_device=32"],
    ["plan", "vit_large", "--device=v5e:4x4", "--per_device=32"],
  ]
  lines = [tuple(x) for x in plans.commands(set(), "")]
  assert len(lines) == len(set(lines))
  for _, *arguments in lines:
    parse_flags(command._parser(), arguments)  # leaves if it is none


def test_the_page_has_the_table_of_the_results():
  if not plans.RESULTS.exists():
    pytest.skip("no results yet")
  rows = map(json.loads, plans.RESULTS.read_text().splitlines())
  done = {row["command"]: row for row in rows}
  commands = [" ".join(["d2v", *x]) for x in plans.commands(set(), "")]
  assert set(done) <= set(commands)
  rows = [done[x] for x in commands if x in done]
  page = (runs.ROOT / "docs/plan.md").read_text()
  assert plans.table(rows) in page
  assert plans.shares_table(rows) in page


def test_where_time_goes_by_hand():
  work = {"products": 0.003, "kernels": 0.0, "other": 0.0021}
  names = ("teacher", "forward", "backward", "update", "rest")
  part = dict.fromkeys(names, 0.001) | {"rest": 0.0011}
  row = {"config": "a", "device": "b", "commit": "c"}
  row |= {"per_device": 4, "length": 5000}
  row |= {"work_seconds": work, "part_seconds": part}
  *_, line = plans.shares_table([{"config": "old"}, row]).splitlines()
  assert line == (
    "| a | b | 4 of 5,000 | 5.1 | 3.0 | 0.0 | 2.1 | 1.0 | 1.0 | 1.0 | 1.0 "
    "| 1.1 | c |"
  )
