import random
import subprocess
import sys

import pytest

from experiments.soak import soak


@pytest.fixture
def ends(monkeypatch):
  """Starts end as the next of these programs do."""
  programs = []

  def start(command, workdir, most_bytes=None):
    workdir.mkdir(exist_ok=True)
    return subprocess.Popen(
      [sys.executable, "-c", programs.pop(0)], stderr=subprocess.PIPE
    )

  monkeypatch.setattr(soak, "start", start)
  return programs


class Draws(random.Random):
  """Chooses in turn what it is given."""

  def __init__(self, *choices):
    super().__init__(0)
    self._choices = list(choices)

  def choice(self, _):
    return self._choices.pop(0)


def test_a_run_is_started_until_it_is_over(ends, tmp_path):
  ends += [
    "import sys; sys.exit(75)",
    "import time; time.sleep(60)",
    "",
  ]
  told = []
  draw = Draws("full", "rename", "kill", "nothing", "full")
  end = soak.disturbed((), tmp_path / "run", draw, 0.2, told.append)
  assert end == tmp_path / "run-moved"
  assert end.exists()
  assert [x["fault"] for x in told] == ["full", "rename", "kill", "full"]
  assert [x["status"] for x in told if "status" in x] == [75, 137, 0]


@pytest.mark.parametrize(
  ("program", "text"),
  [
    ("import sys; sys.exit(2)", "kill: status 2"),
    ("raise OSError('full')", "kill: status 1: Traceback"),
  ],
)
def test_an_end_that_no_start_may_have_ends_it(ends, tmp_path, program, text):
  ends.append(program)
  with pytest.raises(RuntimeError, match=text):
    soak.disturbed((), tmp_path / "run", Draws("kill"), 600, lambda _: None)


def test_damage_is_of_the_newest_of_two_checkpoints(tmp_path):
  def contents():
    files = (p for p in tmp_path.rglob("*") if p.is_file())
    return {str(p.relative_to(tmp_path)): p.read_bytes() for p in files}

  draw = random.Random(0)
  for step in (10, 20):
    (tmp_path / "checkpoints" / f"{step}").mkdir(parents=True)
    (tmp_path / "checkpoints" / f"{step}" / "params").write_bytes(b"abc")
    if step == 10:
      before = contents()
      soak._flip(tmp_path, draw)
      soak._lose(tmp_path, draw)
      assert contents() == before
  before = contents()
  soak._flip(tmp_path, draw)
  (name,) = (k for k, x in contents().items() if x != before[k])
  assert name == "checkpoints/20/params"
  changed = int.from_bytes(contents()[name]) ^ int.from_bytes(before[name])
  assert changed.bit_count() == 1
  soak._lose(tmp_path, draw)
  assert list(contents()) == ["checkpoints/10/params"]
