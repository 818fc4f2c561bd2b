import pickle

import numpy as np
import pytest

from d2v_jax.data.speech import decoding
from d2v_jax.data.speech.sources import AudioFolder, LibriSpeech
from tests.data.speech.recordings import KINDS, encoded, sine, write_files


@pytest.fixture
def folder(tmp_path):
  """Two classes, a file of each kind, and a few that are no audio."""
  files = {
    f"{'ab'[k % 2]}/deep/{k}.{kind.upper()}": encoded(sine(800 + 8 * k), kind)
    for k, kind in enumerate(KINDS)
  }
  others = {"b/notes.txt": "no audio", "b/.hidden.wav": "no audio"}
  (tmp_path / "empty").mkdir()
  return write_files(tmp_path, files | others)


def test_folder_with_classes(folder):
  source = AudioFolder(str(folder))
  assert source.class_names == ("a", "b") and len(source) == 5
  names = [source.record_name(i) for i in range(5)]
  assert names == sorted(
    str(folder / f"{'ab'[k % 2]}/deep/{k}.{kind.upper()}")
    for k, kind in enumerate(KINDS)
  )
  assert [source[i]["label"] for i in range(5)] == [0, 0, 0, 1, 1]
  first = source[0]["audio"]
  assert first == (folder / "a/deep/0.WAV").read_bytes()
  assert "text" not in source[0] and source.texts() is None
  lengths = source.lengths(16_000)
  assert lengths.dtype == np.int64
  assert lengths.tolist() == [800, 816, 832, 808, 824]
  assert lengths.tolist() == [len(decoding.decode(r["audio"])) for r in source]
  assert source.lengths(8000).tolist() == [400, 408, 416, 404, 412]
  again = pickle.loads(pickle.dumps(source))
  assert [again[i] for i in range(5)] == [source[i] for i in range(5)]


def test_folder_without_labels(folder):
  source = AudioFolder(str(folder), labels=False)
  assert len(source) == 5 and set(source[0]) == {"audio"}
  assert source.class_names == ()
  write_files(folder, {"loose.wav": encoded(sine())})
  assert "label" not in AudioFolder(str(folder))[0]
  with pytest.raises(ValueError, match=r"'loose.wav'; move them or set labels"):
    AudioFolder(str(folder), labels=True)


def test_unreadable_files_have_no_length(folder):
  write_files(folder, {"c/a.flac": "no audio", "c/b.wav": b""})
  lengths = AudioFolder(str(folder)).lengths(16_000)
  assert (lengths == 0).tolist() == [False] * 5 + [True] * 2


def test_folder_errors(folder):
  with pytest.raises(ValueError, match=r"AudioFolder: '.*' is not a folder; c"):
    AudioFolder(str(folder / "missing"))
  with pytest.raises(ValueError, match=r"no audio in .* of: .aac, .aif"):
    AudioFolder(str(folder / "empty"))


@pytest.fixture
def librispeech(tmp_path):
  files = {}
  for subset, chapter, count in (
    ("train-clean-100", "19/198", 3),
    ("train-clean-100", "7/5", 1),
    ("dev-clean", "84/121", 2),
  ):
    names = [f"{chapter.replace('/', '-')}-{k:04d}" for k in range(count)]
    for k, name in enumerate(names):
      data = encoded(sine(1000 + k), "flac")
      files[f"{subset}/{chapter}/{name}.flac"] = data
    lines = "".join(f"{name} TEXT OF {name}\n" for name in names)
    trans = f"{chapter.replace('/', '-')}.trans.txt"
    files[f"{subset}/{chapter}/{trans}"] = lines
  files["SPEAKERS.TXT"] = "; no audio"
  return write_files(tmp_path, files)


def test_librispeech(librispeech):
  source = LibriSpeech(str(librispeech), ("train-clean-100", "dev-clean"))
  texts = source.texts()
  assert texts == [
    f"TEXT OF {name}"
    for name in (
      *("19-198-0000", "19-198-0001", "19-198-0002", "7-5-0000"),
      *("84-121-0000", "84-121-0001"),
    )
  ]
  assert source.class_names == () and set(source[0]) == {"audio", "text"}
  for i, text in enumerate(texts):
    record, name = source[i], text.removeprefix("TEXT OF ")
    assert record["text"] == text
    assert source.record_name(i).endswith(f"/{name}.flac")
    assert len(decoding.decode(record["audio"])) == source.lengths(16_000)[i]
  assert [row["speaker"] for row in source.rows][-2:] == ["84", "84"]
  assert source.rows[-1]["split"] == "dev-clean"


def test_librispeech_of_one_subset(librispeech, monkeypatch):
  source = LibriSpeech(str(librispeech / "dev-clean"))
  assert len(source) == 2 and source.rows[0]["split"] == "dev-clean"
  monkeypatch.chdir(librispeech / "dev-clean")
  assert list(LibriSpeech(".").rows) == list(source.rows)


def test_librispeech_errors(librispeech):
  path = str(librispeech)
  with pytest.raises(ValueError, match="set subsets to some of: dev-clean, tr"):
    LibriSpeech(path)
  with pytest.raises(ValueError, match=r"no subset test in .* it has: dev-cl"):
    LibriSpeech(path, ("test", "dev-clean"))
  with pytest.raises(ValueError, match="LibriSpeech: 'nowhere' is not a folde"):
    LibriSpeech("nowhere")
  trans = librispeech / "dev-clean/84/121/84-121.trans.txt"
  trans.write_text("84-121-0000 TEXT\n84-121-0001\n")
  with pytest.raises(
    ValueError, match=r"no transcript of 84-121-0001 in .*121"
  ):
    LibriSpeech(path, ("dev-clean",))
  trans.unlink()
  with pytest.raises(
    ValueError, match=r"no transcript of 84-121-0000 in .*121"
  ):
    LibriSpeech(path, ("dev-clean",))
