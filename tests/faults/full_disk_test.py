"""A disk on which nothing more can be written."""

import resource

import pytest

from tests import runs
from tests.faults.conftest import ARGUMENTS, DEVICES


@pytest.mark.slow
def test_files_that_cannot_grow(draw, train, assert_as_undisturbed, tmp_path):
  workdir = tmp_path / "run"
  process = runs.start(
    *ARGUMENTS,
    workdir=workdir,
    devices=DEVICES,
    # Nobody wants compilations that are cut off.
    variables={"JAX_ENABLE_COMPILATION_CACHE": "false"},
  )
  most = draw.randint(2_000, 12_000)
  resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
  ((status, _, err),) = runs.finish(process)
  assert status == 75, err
  (line,) = err.splitlines()
  assert line.startswith("stopped: ")
  assert line.endswith("run the same command to go on.")
  status, _, err = train("images", workdir)
  assert (status, err) == (0, "")
  assert_as_undisturbed("images", workdir)
