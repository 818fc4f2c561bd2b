import logging
import os
import socket

import pytest

from d2v_jax.data.files import walk as walk_lib
from d2v_jax.data.files.walk import HIDDEN, SAME_FILE, SAME_FOLDER, walk

ENDINGS = (".jpg", ".txt.gz")


def make(root, *names):
  for name in names:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(os.fsencode(name))
  return root


def listed(root, endings=ENDINGS):
  found = walk(root, endings, "Test")
  return list(found.files), {k: list(v) for k, v in found.left_out.items()}


def test_files_are_sorted_and_endings_any_case(tmp_path):
  make(tmp_path, "b/2.JPG", "b/10.jpg", "a.jpg", "a/x/y.Txt.GZ", "c.jpg")
  names = ["a.jpg", "a/x/y.Txt.GZ", "b/10.jpg", "b/2.JPG", "c.jpg"]
  assert listed(tmp_path) == (names, {})
  found = walk(str(tmp_path), ENDINGS, "Test")
  assert found.path("b/2.JPG") == str(tmp_path / "b/2.JPG")


def test_what_is_left_out_has_a_reason(tmp_path, caplog):
  make(
    tmp_path,
    *("1.jpg", "a/2.gif", "b/3.GIF", "c.tar.gz", "README", "deep/d.gz"),
    *(".hidden.jpg", ".git/x/4.jpg", "__MACOSX/5.jpg", "a/.DS_Store"),
  )
  files, left_out = listed(tmp_path)
  assert files == ["1.jpg"]
  assert left_out == {
    "with the ending .gif": ["a/2.gif", "b/3.GIF"],
    "with the ending .tar.gz": ["c.tar.gz"],
    "with the ending .gz": ["deep/d.gz"],
    "without an ending": ["README"],
    HIDDEN: [".git", ".hidden.jpg", "__MACOSX", "a/.DS_Store"],
  }
  with caplog.at_level(logging.WARNING):
    walk(tmp_path, ENDINGS, "Test").log("Test")
  assert f"Test: of the files in {tmp_path} left out 9 of 10 (90%): " in (
    caplog.text
  )
  assert (
    "4 hidden (.git, .hidden.jpg, __MACOSX, ...); 2 with the ending .gif ("
    in (caplog.text)
  )


def test_many_reasons_are_summed(tmp_path):
  make(tmp_path, "a.jpg", *(f"{k:02d}.{k:02d}" for k in range(20)))
  text = walk(tmp_path, ENDINGS, "Test").summary()
  assert "11.11" in text and "12.12" not in text
  assert text.endswith("; 8 for other reasons")


def test_loops_end(tmp_path):
  make(tmp_path, "cat/1.jpg", "dog/2.jpg")
  for name, target in (
    ("cat/up", ".."),
    ("dog/up", ".."),
    ("dog/self", "."),
    ("dog/far", str(tmp_path.parent)),
    ("dog/cat", "../cat"),
  ):
    os.symlink(target, tmp_path / name)
  os.symlink("round.jpg", tmp_path / "round.jpg")
  files, left_out = listed(tmp_path)
  # Whoever opens the link to itself finds that it is none.
  assert files == ["cat/1.jpg", "dog/2.jpg", "round.jpg"]
  assert left_out == {
    SAME_FOLDER: ["cat/up", "dog/cat", "dog/far", "dog/self", "dog/up"]
  }


def test_links_come_after_what_they_lead_to(tmp_path):
  # Or else the class 'dog' would be called 'a'.
  make(tmp_path / "in", "dog/1.jpg", "dog/2.jpg")
  make(tmp_path / "out", "deep/3.jpg")
  os.symlink("dog", tmp_path / "in/a")
  os.symlink("dog/1.jpg", tmp_path / "in/0.jpg")
  os.link(tmp_path / "in/dog/2.jpg", tmp_path / "in/dog/9.jpg")
  os.symlink("../out", tmp_path / "in/b")
  os.symlink("../out/deep", tmp_path / "in/c")
  files, left_out = listed(tmp_path / "in")
  assert files == ["b/deep/3.jpg", "dog/1.jpg", "dog/2.jpg"]
  assert left_out == {
    SAME_FOLDER: ["a", "c"],
    SAME_FILE: ["0.jpg", "dog/9.jpg"],
  }


def test_links_to_nothing_and_what_is_no_file_are_for_the_reader(tmp_path):
  make(tmp_path, "1.jpg")
  os.symlink("nowhere", tmp_path / "2.jpg")
  os.symlink("nowhere", tmp_path / "3.gif")
  os.mkfifo(tmp_path / "4.jpg")
  os.mkfifo(tmp_path / "5.pipe")
  (tmp_path / "7.jpg").mkdir()
  (tmp_path / "8").mkdir()
  with socket.socket(socket.AF_UNIX) as server:
    here = os.getcwd()
    os.chdir(tmp_path)  # a socket's path may not be long
    try:
      server.bind("6.jpg")
    finally:
      os.chdir(here)
    files, left_out = listed(tmp_path)
  assert files == ["1.jpg", "2.jpg", "4.jpg", "6.jpg", "7.jpg"]
  assert left_out == {
    "with the ending .gif": ["3.gif"],
    "with the ending .pipe": ["5.pipe"],
  }


def test_names_of_any_bytes(tmp_path):
  names = [os.fsdecode(b"caf\xe9.jpg"), "new\nline.jpg", "\t.jpg", "日本.jpg"]
  make(tmp_path, *names)
  make(tmp_path / os.fsdecode(b"\xff"), "a.bmp")
  files, left_out = listed(tmp_path)
  assert files == sorted(names)
  [(reason, _)] = left_out.items()
  assert reason == "with the ending .bmp"
  assert r"(\udcff/a.bmp)" in walk(tmp_path, ENDINGS, "Test").summary()


def test_errors(tmp_path, monkeypatch):
  with pytest.raises(
    ValueError, match=r"Test: '.*none' is not a folder; check"
  ):
    walk(tmp_path / "none", ENDINGS, "Test")
  make(tmp_path, "a/1.jpg", "b/2.jpg")
  scandir = os.scandir

  def forbidding(path):
    if os.fspath(path).endswith("b"):
      raise PermissionError(13, "Permission denied")
    return scandir(path)

  # Root, who may run tests, is forbidden nothing.
  monkeypatch.setattr(walk_lib.os, "scandir", forbidding)
  with pytest.raises(
    ValueError, match=r"Test: cannot list the folder .*/b: Permission denied"
  ):
    walk(tmp_path, ENDINGS, "Test")


def test_a_link_to_a_folder_that_may_not_be_seen(tmp_path, monkeypatch):
  """It may be all of a class."""
  make(tmp_path, "a/1.jpg")
  os.symlink("secret", tmp_path / "b")
  stat = os.stat

  def forbidding(path, **options):
    if os.fspath(path).endswith("b"):
      raise PermissionError(13, "Permission denied")
    return stat(path, **options)

  monkeypatch.setattr(walk_lib.os, "stat", forbidding)
  with pytest.raises(
    ValueError, match=r"Test: cannot list the folder .*/b: Permission denied"
  ):
    walk(tmp_path, ENDINGS, "Test")
