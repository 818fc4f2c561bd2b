"""A few updates of a tiny run, timed."""

import pytest

from d2v_jax import config_file
from d2v_jax.deriving import cost
from d2v_jax.training import build
from tests import runs


@pytest.mark.slow
def test_start_updates_and_an_evaluation_are_timed():
  config = config_file.load(str(runs.ROOT / runs.TINY))
  config.num_devices = 1
  lines = []
  found = cost.measured(build.from_config(config), lines.append)
  assert found.start > 0 and found.update > 0 and found.evaluation > 0
  assert [line.split(" for ")[0] for line in lines] == ["compiling the step"]
