import errno
import gzip
import os
import pickle

import pytest

from d2v_jax.data.corrupt import CorruptRecords
from d2v_jax.data.text import examples
from d2v_jax.data.text.text_files import TextFiles


@pytest.fixture
def folder(tmp_path):
  (tmp_path / "a.txt").write_text(
    "\ufeffone\r\n two \n\n\n \nthree\u2028four\n", encoding="utf-8"
  )
  (tmp_path / "sub").mkdir()
  with gzip.open(tmp_path / "sub" / "b.txt.gz", "wt") as file:
    file.write("\nfive")
  (tmp_path / "sub" / "wiki_00").write_text("six\n")
  (tmp_path / "sub" / ".hidden.txt").write_text("no\n")
  (tmp_path / "empty.txt").write_text("\n \n")
  return tmp_path


def test_text_files_of_a_folder(folder):
  source = TextFiles(folder)
  texts = ["one", "two", "three\u2028four", "five"]
  for some in (source, pickle.loads(pickle.dumps(source))):
    assert [some[i] for i in range(len(some))] == [{"text": t} for t in texts]
  assert source.class_names == ()
  assert source.record_name(2) == f"{folder / 'a.txt'}:6"
  assert source.record_name(3) == f"{folder / 'sub' / 'b.txt.gz'}:2"


def test_documents_end_at_empty_lines_and_files(folder):
  found = list(TextFiles(folder).documents())
  assert found == [["one", "two"], ["three\u2028four"], ["five"]]


def test_a_file_and_a_glob(folder):
  one = TextFiles(str(folder / "sub" / "wiki_00"))
  assert list(one.documents()) == [["six"]]
  some = TextFiles(str(folder / "*" / "*[0z]"))
  assert list(some.documents()) == [["five"], ["six"]]


def test_text_file_errors(folder):
  for path in ("none.txt", "x*.txt"):
    with pytest.raises(
      ValueError, match=r"it must be a file, a folder with files"
    ):
      TextFiles(folder / path)
  (folder / "a.txt").write_bytes(b"ok\n\xff\n")
  with pytest.raises(ValueError, match=r"cannot read .*a.txt: 'utf-8' codec"):
    len(TextFiles(folder / "a.txt"))
  whole = (folder / "sub" / "b.txt.gz").read_bytes()
  for damaged in (whole[:-9], b"no gzip"):
    (folder / "sub" / "b.txt.gz").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"cannot read .*b.txt.gz"):
      list(TextFiles(folder / "sub").documents())


def test_files_that_cannot_be_opened_are_counted(folder, tmp_path, monkeypatch):
  os.mkfifo(folder / "pipe.txt")
  os.symlink("nowhere", folder / "gone.txt")
  opened = open

  def forbidding(path, *args, **options):
    if os.fspath(path).endswith("a.txt"):
      raise PermissionError(errno.EACCES, "Permission denied")
    return opened(path, *args, **options)

  # Root, who may run tests, is forbidden nothing.
  monkeypatch.setattr("builtins.open", forbidding)
  source = TextFiles(folder)
  expected = {
    str(folder / "a.txt"): "it is forbidden to this user",
    str(folder / "gone.txt"): "a link to nothing",
    str(folder / "pipe.txt"): "a pipe, no file",
  }
  assert source.unreadable == expected
  for packing in (None, "none"):
    made = examples.training_texts(source, {"name": "kjv"}, 2000, 64, packing)
    assert made.unreadable == expected
  with pytest.raises(ValueError, match=r"3 corrupt records are more than max"):
    CorruptRecords(made, 2, tmp_path / "corrupt_files.txt")
