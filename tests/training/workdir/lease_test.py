"""A workdir has one owner, and a second run touches nothing."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from etils import epath

from d2v_jax import main, storage
from d2v_jax.data import pipeline
from d2v_jax.training.workdir import lease, owner
from tests import runs

ALONE = ("--config.num_devices=1", "--config.evaluation.evaluators=None")


def owned(workdir, seconds=60.0, takeover=False, tell=lambda text: None):
  return lease.owned(epath.Path(workdir), seconds, takeover, tell)


def written(workdir, **fields):
  """Writes owner.json as this process would, but for some fields."""
  content = owner.this_process() | {"lease_seconds": 60.0} | fields
  (workdir / lease.FILE).write_text(json.dumps(content))
  return content


def read(workdir):
  return json.loads((workdir / lease.FILE).read_text())


def files(workdir):
  """Path -> bytes, but for the claim."""
  return {
    p: p.read_bytes()
    for p in workdir.rglob("*")
    if p.is_file() and p.name != lease.FILE
  }


def a_dead_process():
  done = subprocess.run(
    [sys.executable, "-c", "import os; print(os.getpid())"],
    capture_output=True,
    check=True,
  )
  return int(done.stdout)


@pytest.fixture
def elsewhere(monkeypatch):
  """Owners of this process seem to be on another host."""
  monkeypatch.setattr(owner, "_is_ours", lambda _: False)


def test_the_claim_names_the_run_and_goes_with_it(tmp_path):
  with owned(tmp_path) as mine:
    mine.require()
    assert not mine.lost
    claim = read(tmp_path)
    assert claim["process"] == os.getpid()
    assert claim["lease_seconds"] == 60.0
  assert list(tmp_path.iterdir()) == []


def test_a_second_one_is_refused_and_told_whose_it_is(tmp_path):
  with owned(tmp_path):
    claim = read(tmp_path)
    with pytest.raises(lease.InUse) as e, owned(tmp_path):
      pass
    assert read(tmp_path) == claim
  for text in (claim["host"], f"process {os.getpid()}", claim["started"]):
    assert text in str(e.value)
  assert "--takeover" in str(e.value)


@pytest.mark.parametrize("others", ["process", "process_started"])
def test_a_dead_owner_on_this_machine_is_recognised_at_once(tmp_path, others):
  values = {"process": a_dead_process(), "process_started": "1"}
  claim = written(tmp_path, **{others: values[others]})
  begin = time.monotonic()
  with owned(tmp_path):
    assert read(tmp_path)["token"] != claim["token"]
  assert time.monotonic() - begin < 30  # not a lease of 60 s


def test_a_silent_owner_elsewhere_is_dead_after_its_lease(tmp_path, elsewhere):
  written(tmp_path, lease_seconds=1.0)
  told = []
  begin = time.monotonic()
  with owned(tmp_path, tell=told.append):
    assert time.monotonic() - begin >= 1.0
  assert "waiting up to 1 s for a sign of life" in told[0]


def test_an_owner_elsewhere_that_renews_its_claim_lives(tmp_path, elsewhere):
  with owned(tmp_path, seconds=1.0) as mine:
    with pytest.raises(lease.InUse, match="which lives"), owned(tmp_path):
      pass
    mine.require()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"machine": 3}', "\xff"])
def test_a_damaged_claim_is_watched_like_another(tmp_path, content):
  (tmp_path / lease.FILE).write_bytes(content.encode("latin-1"))
  with owned(tmp_path, seconds=1.0) as mine:
    mine.require()
  assert not (tmp_path / lease.FILE).exists()


def test_a_folder_in_its_place_is_set_aside(tmp_path):
  (tmp_path / lease.FILE / "inside").mkdir(parents=True)
  told = []
  with owned(tmp_path, tell=told.append) as mine:
    mine.require()
    assert read(tmp_path)["process"] == os.getpid()
  aside = tmp_path / "owner.json.damaged"
  assert (aside / "inside").is_dir()
  assert told == [f"set aside a folder: {aside}"]


@pytest.mark.parametrize("bucket", [False, True])
def test_of_many_at_once_one_owns(tmp_path, monkeypatch, bucket):
  monkeypatch.setattr(storage, "in_bucket", lambda path: bucket)
  won, lost, done = [], [], threading.Event()

  def attempt():
    try:
      with owned(tmp_path):
        won.append(1)
        done.wait()
    except lease.InUse:
      lost.append(1)

  threads = [threading.Thread(target=attempt) for _ in range(8)]
  for thread in threads:
    thread.start()
  while len(won) + len(lost) < 8:
    time.sleep(0.01)
  done.set()
  for thread in threads:
    thread.join()
  assert (len(won), len(lost)) == (1, 7)


def test_who_is_second_by_a_moment_is_refused(tmp_path, monkeypatch):
  read_file, other = lease._read, []

  def late(path):
    """The other one writes its claim just after this one has looked."""
    found = read_file(path)
    if not other:
      other.append(written(tmp_path))
    return found

  monkeypatch.setattr(lease, "_read", late)
  with pytest.raises(lease.InUse), owned(tmp_path):
    pass
  assert [read(tmp_path)] == other


def test_who_loses_a_race_for_a_dead_ones_workdir_leaves(tmp_path, monkeypatch):
  written(tmp_path, process_started="1")
  other = {}
  monkeypatch.setattr(
    lease.time, "sleep", lambda _: other.update(written(tmp_path))
  )
  with pytest.raises(lease.InUse), owned(tmp_path):
    pass
  assert read(tmp_path) == other


def test_a_takeover_stops_the_other_one(tmp_path):
  told = []
  with owned(tmp_path, seconds=1.0) as old:
    name = owner.described(read(tmp_path))
    with owned(tmp_path, takeover=True, tell=told.append) as new:
      # It waits for so long that the other one has noticed.
      assert old.lost
      with pytest.raises(lease.InUse, match="was taken over by the run of"):
        old.require()
      new.require()
    assert told == [f"taking {tmp_path} from {name}"]
  assert list(tmp_path.iterdir()) == []


def test_the_claim_of_a_successor_stays(tmp_path):
  with owned(tmp_path):
    claim = written(tmp_path)
  assert read(tmp_path) == claim


def test_a_claim_that_cannot_be_renewed_is_lost(tmp_path, monkeypatch):
  with owned(tmp_path, seconds=1.0) as mine:

    def full(self):
      raise OSError(28, "No space left on device")

    monkeypatch.setattr(lease.Lease, "_write", full)
    mine.require()
    end = time.monotonic() + 30
    while not mine.lost and time.monotonic() < end:
      time.sleep(0.05)
    with pytest.raises(lease.Lost, match="No space left on device"):
      mine.require()


# Whole runs


def command(workdir, *arguments):
  return [f"--config={runs.TINY}", f"--workdir={workdir}", *ALONE, *arguments]


def test_a_second_run_touches_nothing(tmp_path, capsys):
  short = ("--config.total_steps=2", "--config.schedule.warmup_steps=1")
  assert main.main(command(tmp_path, *short)) == 0
  (tmp_path / "checkpoints" / "3.orbax-checkpoint-tmp").mkdir()
  before = files(tmp_path)
  capsys.readouterr()
  with owned(tmp_path):
    claim = read(tmp_path)
    assert main.main(command(tmp_path, *short)) == 4
    assert read(tmp_path) == claim
  out, err = capsys.readouterr()
  assert out == ""
  assert err.startswith(f"refused: the workdir {tmp_path} belongs to the run")
  assert len(err.splitlines()) == 1
  assert files(tmp_path) == before
  assert (tmp_path / "checkpoints" / "3.orbax-checkpoint-tmp").exists()


def test_a_run_whose_workdir_is_taken_saves_nothing_more(
  tmp_path, monkeypatch, capsys
):
  take, taken, other = pipeline.TrainBatches.__next__, [], []

  def next_batch(self):
    taken.append(1)
    if len(taken) == 7:
      other.append(written(tmp_path))
    return take(self)

  monkeypatch.setattr(pipeline.TrainBatches, "__next__", next_batch)
  assert main.main(command(tmp_path, "--config.total_steps=12")) == 4
  _, err = capsys.readouterr()
  assert "was taken over by the run of process" in err
  assert "this run has saved nothing since" in err
  assert [read(tmp_path)] == other
  steps = {int(p.name) for p in (tmp_path / "checkpoints").iterdir()}
  assert steps == {4}
  assert max(runs.losses(tmp_path)) < 8


def test_a_lease_has_bounds(tmp_path, capsys):
  assert main.main(command(tmp_path, "--lease=0.5")) == 2
  _, err = capsys.readouterr()
  assert err == "error: --lease must be 1 to 3600 seconds, got 0.5.\n"
