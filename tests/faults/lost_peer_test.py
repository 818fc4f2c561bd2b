"""One of several processes is killed."""

import signal

import pytest

from tests import runs


@pytest.mark.slow
def test_the_others_say_to_try_again_and_all_go_on(draw, tmp_path):
  wide = (
    "--config.encoder.width=64",
    "--config.evaluation.evaluators=None",
    "--config.checkpoint_every=2",
  )
  workdir, lost = tmp_path / "run", draw.randrange(2)
  moments = [{}, {}]
  count = draw.randint(4, 11)
  moments[lost] = {"moment": "batch", "count": count, "signum": signal.SIGKILL}
  ended = runs.pair(workdir, *wide, "--peer_timeout=10", moments=moments)
  assert ended[lost][0] == -signal.SIGKILL
  status, _, err = ended[1 - lost]
  assert status == 75, err
  assert "another process of the run, or the connection to it, is gone" in err
  step, _ = runs.state(workdir)
  assert 2 <= step < count
  for status, _, err in runs.pair(workdir, *wide):
    assert status == 0, err
  whole = tmp_path / "whole"
  status, _, err = runs.run(
    *wide, "--config.num_devices=4", workdir=whole, devices=4
  )
  assert status == 0, err
  expected = runs.losses(whole)
  assert runs.losses(workdir) == pytest.approx(expected, rel=1e-6)
