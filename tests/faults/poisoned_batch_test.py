"""A batch whose loss is no number."""

import json

import pytest

from tests import runs
from tests.faults.conftest import STEPS


@pytest.mark.slow
def test_it_is_skipped_and_kept(draw, disturbed, tmp_path):
  kind = "images"
  workdir, step = tmp_path / "run", draw.randint(2, STEPS[kind])
  status, out, err = disturbed(kind, workdir, moment="poison", count=step)
  assert status == 0, err
  folder = workdir / "bad_steps" / f"{step}"
  said = f"skipped step {step}: loss is nan; what it was made of is in {folder}"
  assert f"{said}\n" in out
  lines = {x["step"]: x for x in runs.metrics(workdir)}
  assert list(lines) == list(range(1, STEPS[kind] + 1))
  assert [s for s, x in lines.items() if x["skipped"]] == [step]
  told = json.loads((folder / "step.json").read_text())
  assert len(told["examples"]) == 16
