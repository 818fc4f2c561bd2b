import os

import pytest

from d2v_jax.data.files.unreadable import Unreadable, read_bytes, shown


def refused(path):
  with pytest.raises(Unreadable) as caught:
    read_bytes(path)
  return str(caught.value)


def test_only_files_are_read(tmp_path):
  file = tmp_path / "file"
  file.write_bytes(b"content")
  os.symlink("file", tmp_path / "link")
  assert read_bytes(file) == read_bytes(tmp_path / "link") == b"content"
  os.symlink("nothing", tmp_path / "dangling")
  os.symlink("round", tmp_path / "round")
  os.mkfifo(tmp_path / "pipe")  # to open it would wait for ever
  os.symlink("pipe", tmp_path / "to_pipe")
  assert refused(tmp_path / "dangling") == "a link to nothing"
  assert refused(tmp_path / "gone") == "it is gone"
  assert refused(tmp_path / "round") == "a link that leads to itself"
  assert refused(tmp_path / "pipe") == "a pipe, no file"
  assert refused(tmp_path / "to_pipe") == "a pipe, no file"
  assert refused(tmp_path) == "a folder, no file"
  assert refused("/dev/null") == "a device, no file"


def test_what_is_forbidden(tmp_path, monkeypatch):
  file = tmp_path / "file"
  file.write_bytes(b"content")

  def forbidden(self):
    raise PermissionError(13, "Permission denied")

  monkeypatch.setattr(type(file), "read_bytes", forbidden)
  assert refused(file) == "it is forbidden to this user"


def test_shown_is_one_line_of_any_encoding():
  name = os.fsdecode(b"a\xe9 b\n\t.jpg")
  assert shown(name) == r"a\udce9 b\n\t.jpg"
  assert shown("日本 é.jpg") == "日本 é.jpg"
