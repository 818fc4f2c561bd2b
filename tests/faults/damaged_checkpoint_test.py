"""What was saved is not what is read."""

import shutil

import pytest

from tests import runs

# Orbax drops tasks when it meets a damaged array; see checkpoint_test.
pytestmark = pytest.mark.filterwarnings(
  "ignore:(?s)Exception ignored in.*Event loop is closed"
)


def flip(path, draw):
  content = bytearray(path.read_bytes())
  content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
  path.write_bytes(content)


def cut(path, draw):
  with path.open("r+b") as file:
    file.truncate(draw.randrange(path.stat().st_size))


def lose(path, draw):
  path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flip, cut, lose])
def test_any_file_of_it(damage, draw, early, train, assert_as_undisturbed):
  """Of a file that is not needed the damage may go unnoticed, but no other."""
  newest = early / "checkpoints" / "10"
  files = sorted(x for x in newest.rglob("*") if x.is_file())
  damage(draw.choice([x for x in files if x.stat().st_size]), draw)
  status, out, err = train("images", early)
  assert (status, err) == (0, "")
  damaged = f"set aside a damaged checkpoint, {newest}: " in out
  assert f"continuing {early} from step {8 if damaged else 10}\n" in out
  assert_as_undisturbed("images", early)


@pytest.mark.slow
def test_damaged_ones_are_named_and_an_older_one_is_used(
  early, train, assert_as_undisturbed
):
  checkpoints = early / "checkpoints"
  shutil.rmtree(checkpoints / "10")
  (checkpoints / "10").mkdir()
  data = max(
    (checkpoints / "8" / "opt_state").rglob("d/*"),
    key=lambda p: p.stat().st_size,
  )
  content = bytearray(data.read_bytes())
  content[len(content) // 2] ^= 0x10
  data.write_bytes(content)

  status, out, _ = train("images", early)
  assert status == 0
  for step in (10, 8):
    assert f"set aside a damaged checkpoint, {checkpoints / str(step)}: " in out
  assert f"continuing {early} from step 6\n" in out
  assert {p.name for p in (early / "damaged").iterdir()} == {"8", "10"}
  assert_as_undisturbed("images", early)


@pytest.mark.slow
def test_where_none_is_valid_nothing_is_touched(early, train):
  steps = ("6", "8", "10")
  for step in steps:
    shutil.rmtree(early / "checkpoints" / step / "loop")
  before = (early / "metrics.jsonl").read_bytes()
  status, _, err = train("images", early)
  assert status == 2
  assert "no checkpoint can be used, all are damaged" in err
  assert {p.name for p in (early / "checkpoints").iterdir()} == set(steps)
  assert (early / "metrics.jsonl").read_bytes() == before
  assert list(runs.losses(early)) == list(range(1, 11))
