"""What lies beside the checkpoints is damaged, or no file."""

import pytest

from tests import runs

FILES = ("metrics.jsonl", "run.json", "owner.json", "verdict.json")


def noise(path, draw):
  path.write_bytes(draw.randbytes(draw.randint(1, 400)))


def cut(path, draw):
  content = path.read_bytes() if path.exists() else b'{"step": 3}'
  path.write_bytes(content[: draw.randrange(len(content))])


def folder(path, draw):
  path.unlink(missing_ok=True)
  path.mkdir()


@pytest.mark.slow
@pytest.mark.parametrize("damage", [noise, cut, folder])
def test_any_of_them(damage, draw, early, train, undisturbed):
  for name in draw.sample(FILES, 2):
    damage(early / name, draw)
  status, out, err = train("images", early, "--lease=1")
  assert (status, err) == (0, ""), out
  assert f"continuing {early} from step 10\n" in out
  runs.assert_same_state(early, undisturbed("images"))
  assert max(runs.losses(early)) == 12


@pytest.mark.slow
def test_what_was_lost_is_said_and_the_rest_is_kept(early, train, undisturbed):
  lines = (early / "metrics.jsonl").read_bytes().splitlines(keepends=True)
  lines[3] = b"\xff\xfe" + lines[3]
  (early / "metrics.jsonl").write_bytes(b"".join(lines))
  (early / "run.json").write_text("[")
  (early / "corrupt_files.txt").write_bytes(b"\xff")
  (early / "verdict.json").write_text("{")
  status, out, err = train("images", early)
  assert (status, err) == (0, "")
  assert "metrics.jsonl is damaged: 1 of 10 lines cannot be read" in out
  assert "run.json is damaged: what it said of earlier starts is lost" in out
  runs.assert_same_state(early, undisturbed("images"))
  expected = runs.metrics(undisturbed("images"))
  assert runs.metrics(early) == expected[:3] + expected[4:]
