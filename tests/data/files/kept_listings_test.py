import logging
import os

import pytest

from d2v_jax.data.files import kept_listings, walk

ENDINGS = (".jpg",)


@pytest.fixture
def root(tmp_path, monkeypatch):
  """A folder whose list is kept, though it was made just now."""
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  monkeypatch.setattr(kept_listings, "_SETTLED", -1e9)
  monkeypatch.setattr(walk, "_MANY", 3)
  root = tmp_path / "root"
  device = os.stat(tmp_path).st_dev
  mounted = tmp_path / "mountinfo"
  mounted.write_text(
    f"1 2 {os.major(device)}:{os.minor(device)} / /data rw,relatime shared:1 "
    "- ext4 /dev/sda rw\n"
  )
  monkeypatch.setattr(kept_listings, "_MOUNTED", mounted)
  for name in ("a/1.jpg", "a/2.jpg", "b/caf\udce9.jpg", "b/c/4.jpg", "b/x.gif"):
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"")
  return root


def listed(root, caplog=None):
  """The list, and whether it is a kept one."""
  with caplog.at_level(logging.INFO):
    caplog.clear()
    found = walk.walk(root, ENDINGS, "Test")
    return found, "still holds" in caplog.text


def test_the_second_time_nothing_is_listed(root, caplog, monkeypatch):
  first, kept = listed(root, caplog)
  assert not kept and len(first.files) == 4
  monkeypatch.setattr(os, "scandir", None)
  again, kept = listed(root, caplog)
  assert kept
  assert list(again.files) == list(first.files)
  assert (again.root, again.left_out) == (first.root, first.left_out)
  monkeypatch.chdir(root.parent)
  elsewhere, kept = listed("root", caplog)
  assert kept and elsewhere.path("a/1.jpg") == "root/a/1.jpg"


CHANGES = {
  "a new file": lambda root: (root / "b/c/5.jpg").write_bytes(b""),
  "a new folder": lambda root: (root / "d").mkdir(),
  "one file less": lambda root: (root / "a/2.jpg").unlink(),
  "another name": lambda root: (root / "a/2.jpg").rename(root / "a/3.jpg"),
  "a file in another folder": lambda root: (root / "a/2.jpg").rename(
    root / "b/2.jpg"
  ),
  "a folder in place of another": lambda root: (
    (root / "b/c").rename(root.parent / "c"),
    (root / "b/c").mkdir(),
  ),
  "a link": lambda root: (root / "b/c/l.jpg").symlink_to(root / "a/1.jpg"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("hidden", [False, True])
def test_what_has_changed_is_listed_anew(root, caplog, change, hidden):
  listed(root, caplog)
  before = {
    folder: os.stat(folder) for folder, _, _ in os.walk(root, topdown=False)
  }
  CHANGES[change](root)
  for folder, status in before.items():
    # As a program does it that copies a folder with its times.
    if hidden and os.path.isdir(folder):
      os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns))
  found, kept = listed(root, caplog)
  assert not kept
  real = sorted(
    str(file.relative_to(root))
    for file in root.rglob("*.jpg")
    if not file.is_symlink()
  )
  assert list(found.files) == real


def test_content_of_files_does_not_matter(root, caplog):
  listed(root, caplog)
  (root / "a/1.jpg").write_bytes(b"other")
  assert listed(root, caplog)[1]


def test_other_endings_have_a_list_of_their_own(root, caplog):
  listed(root, caplog)
  assert list(walk.walk(root, (".gif",), "Test").files) == ["b/x.gif"]


def test_not_kept_where_times_might_not_tell(root, caplog, monkeypatch):
  monkeypatch.setattr(kept_listings, "_SETTLED", 60)
  listed(root, caplog)
  assert not listed(root, caplog)[1]  # a folder has changed just now
  monkeypatch.setattr(kept_listings, "_SETTLED", -1e9)
  (root / "a/link.jpg").symlink_to(root / "a/1.jpg")
  listed(root, caplog)
  assert not listed(root, caplog)[1]


@pytest.mark.parametrize("mounted", ["", "fuse.gcsfuse", None])
def test_not_kept_where_times_may_be_made_up(root, caplog, mounted):
  info = kept_listings._MOUNTED
  if mounted is None:
    info.unlink()
  else:
    info.write_text(info.read_text().replace("ext4", mounted) * bool(mounted))
  listed(root, caplog)
  assert not listed(root, caplog)[1]


def test_small_folders_are_not_worth_it(root, caplog, monkeypatch):
  monkeypatch.setattr(walk, "_MANY", 5)
  listed(root, caplog)
  assert not listed(root, caplog)[1]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a list"])
def test_a_damaged_list_is_made_anew(root, caplog, damage):
  listed(root, caplog)
  (kept,) = kept_listings.folder().iterdir()
  kept.write_bytes(damage)
  found, taken = listed(root, caplog)
  assert not taken and len(found.files) == 4
  assert listed(root, caplog)[1]


def test_no_place_to_keep_it(root, caplog):
  kept_listings.folder().parent.parent.mkdir(parents=True)
  kept_listings.folder().parent.write_text("a file")
  assert len(listed(root, caplog)[0].files) == 4
  assert "is not kept" in caplog.text
