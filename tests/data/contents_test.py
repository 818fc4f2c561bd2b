"""Data are known again by names and sizes, wherever they lie."""

import hashlib
import shutil

import pytest

from d2v_jax.data import contents


class Named:
  def __init__(self, names):
    self._names = list(names)

  def __len__(self):
    return len(self._names)

  def record_name(self, index):
    return self._names[index]


@pytest.fixture
def folder(tmp_path):
  root = tmp_path / "photos"
  for name in ("cat/1", "cat/2", "dog/1"):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(name * 3)
  return root


def files(root):
  return Named(str(p) for p in sorted(root.rglob("*")) if p.is_file())


def test_it_is_a_checksum_of_names_and_sizes(folder):
  text = "3\n/cat/1\t15\n/cat/2\t15\n/dog/1\t15"
  expected = hashlib.sha256(text.encode()).hexdigest()[:16]
  assert contents.fingerprint(files(folder)) == expected


def test_data_may_be_moved(folder, tmp_path):
  before = contents.fingerprint(files(folder))
  moved = shutil.move(folder, tmp_path / "elsewhere" / "far away")
  assert contents.fingerprint(files(moved)) == before


@pytest.mark.parametrize("change", ["size", "name", "gone", "more"])
def test_other_data_have_another_one(folder, change):
  before = contents.fingerprint(files(folder))
  if change == "size":
    (folder / "cat" / "1").write_text("other")
  if change == "name":
    (folder / "cat" / "1").rename(folder / "cat" / "3")
  if change == "gone":
    (folder / "cat" / "1").unlink()
  if change == "more":
    (folder / "cat" / "3").write_text("more")
  assert contents.fingerprint(files(folder)) != before


def test_names_of_no_files_do(tmp_path):
  names = [f"verses.tsv:{n}" for n in range(9)]
  assert contents.fingerprint(Named(names)) != contents.fingerprint(
    Named(names[:-1])
  )
  assert contents.fingerprint(Named(["\udcff"]))
  assert contents.fingerprint(Named(["a\0b", "a\0c"]))


@pytest.mark.parametrize(
  ("place", "file"),
  [
    ("verses.tsv:{}", "verses.tsv"),
    ("images.npz[{}]", "images.npz"),
    ("tokens[{}]", "tokens/part.array_record"),
  ],
)
def test_other_content_of_one_file_is_noticed(tmp_path, place, file):
  names = [str(tmp_path / place.format(n)) for n in range(9)]
  (tmp_path / file).parent.mkdir(exist_ok=True)
  (tmp_path / file).write_text("some")
  before = contents.fingerprint(Named(names))
  assert contents.fingerprint(Named(names)) == before
  (tmp_path / file).write_text("others")
  assert contents.fingerprint(Named(names)) != before


def test_of_many_some_are_looked_at():
  asked = []

  class Many(Named):
    def __len__(self):
      return 10**8

    def record_name(self, index):
      asked.append(index)
      return f"x/{index}"

  contents.fingerprint(Many([]))
  assert len(asked) <= 4096
  assert asked[0] == 0 and asked[-1] > 0.99 * 10**8
