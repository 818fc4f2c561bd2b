"""Files of the data are gone, or others than they were."""

import json
import shutil
import signal

import cv2
import numpy as np
import pytest

from tests import runs
from tests.data.speech import recordings

COUNT = 24
ENDINGS = {"images": "png", "speech": "wav"}


def write_image(path, rng, size=8):
  image = rng.integers(0, 256, (size, size), np.uint8)
  assert cv2.imwrite(str(path), image)


def write_recording(path, rng):
  samples = rng.normal(0, 0.1, rng.integers(4_000, 8_000))
  path.write_bytes(recordings.encoded(samples))


WRITE = {"images": write_image, "speech": write_recording}


def source(path):
  return f"--config.data.source={ {'name': 'folder', 'path': str(path)} }"


@pytest.fixture
def folder(kind, tmp_path):
  folder, rng = tmp_path / "data", np.random.default_rng(0)
  folder.mkdir()
  for n in range(COUNT):
    WRITE[kind](folder / f"{n:02}.{ENDINGS[kind]}", rng)
  return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENDINGS)
def test_a_file_that_goes_while_a_run_reads(
  kind, folder, draw, disturbed, train, tmp_path
):
  """It is counted and named; going on without it takes the user's word."""
  workdir = tmp_path / "run"
  gone = folder / f"{draw.randrange(COUNT):02}.{ENDINGS[kind]}"
  steps = "--config.total_steps=8"
  status, _, err = disturbed(
    kind,
    workdir,
    source(folder),
    steps,
    moment="remove",
    count=draw.randint(1, 3),
    variables={"D2V_TEST_REMOVED": str(gone)},
  )
  assert status == 0, err
  assert (workdir / "corrupt_files.txt").read_text() == f"{gone}\tit is gone\n"
  assert list(runs.losses(workdir)) == list(range(1, 9))
  (workdir / "checkpoints" / "8").rename(tmp_path / "8")
  status, _, err = train(kind, workdir, source(folder), steps)
  assert status == 2
  assert "number of training examples: 24 -> 23" in err
  status, out, err = train(
    kind, workdir, source(folder), steps, "--changed_data"
  )
  assert (status, err) == (0, "")
  assert f"continuing {workdir} from step 6\n" in out


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["images"])
def test_other_data_are_noticed_and_what_is_left_will_do(
  kind, folder, draw, disturbed, train, tmp_path
):
  workdir = tmp_path / "run"
  status, _, err = disturbed(
    kind,
    workdir,
    source(folder),
    moment="batch",
    count=draw.randint(1, 6),
    signum=signal.SIGTERM,
  )
  assert status == 143, err
  # All of them exchanged: as many, of the same names.
  moved = shutil.move(folder, tmp_path / "moved")
  others = shutil.copytree(moved, tmp_path / "others")
  for n in range(COUNT):
    write_image(others / f"{n:02}.png", np.random.default_rng(n), size=9)
  status, _, err = train(kind, workdir, source(others))
  assert status == 2
  assert "the run was trained on other data than there are now" in err
  assert "fingerprint of the records' names and sizes" in err
  assert "--changed_data" in err

  # Where they lie is no matter, and one that is gone is.
  one = moved / f"{draw.randrange(COUNT):02}.png"
  content = one.read_bytes()
  one.unlink()
  status, _, err = train(kind, workdir, source(moved))
  assert status == 2
  assert "number of training examples: 24 -> 23" in err
  one.write_bytes(content)
  short = ("--config.total_steps=12", "--config.checkpoint_every=1")
  copy = shutil.copytree(workdir, tmp_path / "copy")
  assert train(kind, copy, source(moved), *short)[0] == 0
  assert list(runs.losses(copy)) == list(range(1, 13))

  one.unlink()
  status, out, err = train(kind, workdir, source(moved), "--changed_data")
  assert (status, err) == (0, "")
  assert "number of training examples: 24 -> 23" in out
  assert list(runs.losses(workdir)) == list(range(1, 13))
  start = json.loads((workdir / "run.json").read_text())["starts"][-1]
  assert "number of training examples: 24 -> 23" in start["changed data"]
