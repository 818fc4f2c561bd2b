"""A batch does not come."""

import pytest

from tests.faults.conftest import STEPS


@pytest.mark.slow
def test_a_run_ends_itself(
  draw, disturbed, train, assert_as_undisturbed, tmp_path
):
  workdir = tmp_path / "run"
  status, _, err = disturbed(
    "images",
    workdir,
    "--config.health.stall_minutes=0.3",
    "--config.data.num_workers=1",
    moment="hang",
    count=draw.randint(3, STEPS["images"]),
  )
  assert status == 75, err
  assert "stopped: no step for 0.3 minutes; process 0 waits for the next" in err
  (path,) = (workdir / "stalls").iterdir()
  own, _, others = path.read_text().partition("\nworker ")
  assert "child.py" in own
  assert "grain" in others
  status, _, err = train("images", workdir)
  assert (status, err) == (0, "")
  assert_as_undisturbed("images", workdir)
