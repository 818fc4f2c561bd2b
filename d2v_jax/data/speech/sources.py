"""Where recordings come from.

Records are {'audio': bytes of a file, or float32 [n] or [n, channels] with
'rate'; 'text' and 'label' if there are any}.
"""

import os
import pathlib
from typing import Protocol

import numpy as np

from d2v_jax.data.source import Source
from d2v_jax.data.speech.audio_files import AudioFiles
from d2v_jax.data.speech.manifest import Manifest
from d2v_jax.data.speech.tones import Tones

EXTENSIONS = (".flac", ".mp3", ".ogg", ".opus", ".wav")


class RecordingSource(Source, Protocol):
  """A source of recordings, which knows their lengths and texts."""

  class_names: tuple[str, ...]

  def lengths(self, sample_rate: int) -> np.ndarray:
    """Returns int64 [n], samples after resampling; 0 where unreadable."""
    ...

  def texts(self) -> list[str] | None:
    """Returns the texts, '' where there is none; None when none has one."""
    ...


class AudioFolder(AudioFiles):
  """Audio files under a folder, in sorted order.

  Args:
    path: a mounted folder; links inside it are followed.
    labels: True: the sorted names of the sub-folders that hold audio are the
      classes 0, 1, ... False: no labels, files are taken from any depth.
      None: labelled when there are such sub-folders and no file beside them.

  Raises:
    ValueError: no such folder, no audio in it, or `labels=True` without class
      folders or with files beside them.
  """

  def __init__(self, path: str, labels: bool | None = None):
    names = _audio_files("AudioFolder", path)
    loose = [file for file in names if "/" not in file]
    if labels and loose:
      raise ValueError(
        f"AudioFolder: labels=True needs every file in a class folder, but "
        f"{len(loose)} lie directly in {path!r}, for example {loose[0]!r}; "
        "move them or set labels=False"
      )
    files = [str(pathlib.Path(path) / file) for file in names]
    if not (not loose if labels is None else labels):
      super().__init__(files, [{} for _ in files])
      return
    folders = [file.split("/")[0] for file in names]
    classes = tuple(sorted(set(folders)))
    number = {name: k for k, name in enumerate(classes)}
    rows = [{"label": folder} for folder in folders]
    super().__init__(files, rows, [number[x] for x in folders], classes)


class LibriSpeech(AudioFiles):
  """LibriSpeech as it is downloaded, with its transcripts; unlabelled.

  Args:
    path: folder that holds `<subset>/<speaker>/<chapter>/*.flac`.
    subsets: such as ("train-clean-100",); None when `path` is a subset itself
      and holds the speakers' folders.

  Raises:
    ValueError: no such folder or subset, no audio, or an utterance without its
      line in the chapter's transcript.
  """

  def __init__(self, path: str, subsets: tuple[str, ...] | None = None):
    root = pathlib.Path(path)
    inside = _folders("LibriSpeech", root)
    if subsets is None:
      if not any(name.isdigit() for name in inside):
        raise ValueError(
          f"LibriSpeech: {path!r} has no speakers' folders (numbers); set "
          f"subsets to some of: {', '.join(inside)}"
        )
      subsets, root = (root.resolve().name,), root.resolve().parent
    elif missing := sorted(set(subsets) - set(inside)):
      raise ValueError(
        f"LibriSpeech: no subset {', '.join(missing)} in {path!r}; it has: "
        f"{', '.join(inside)}"
      )
    files, rows = [], []
    texts: dict[pathlib.Path, dict[str, str]] = {}
    for subset in subsets:
      for name in _audio_files("LibriSpeech", str(root / subset)):
        file = root / subset / name
        if file.parent not in texts:
          texts[file.parent] = _transcripts(file.parent)
        text = texts[file.parent].get(file.stem, "")
        if not text:
          raise ValueError(
            f"LibriSpeech: no transcript of {file.stem} in {file.parent}/"
            "*.trans.txt; unpack the archive again or remove the file"
          )
        files.append(str(file))
        speaker = file.stem.split("-")[0]
        rows.append({"split": subset, "speaker": speaker, "text": text})
    super().__init__(files, rows, text="text")


SOURCES: dict[str, type[RecordingSource]] = {
  "folder": AudioFolder,
  "librispeech": LibriSpeech,
  "manifest": Manifest,
  "tones": Tones,
}


def _folders(name: str, root: pathlib.Path) -> list[str]:
  if not root.is_dir():
    raise ValueError(f"{name}: {str(root)!r} is not a folder; check the path")
  return sorted(entry.name for entry in root.iterdir() if entry.is_dir())


def _audio_files(name: str, path: str) -> list[str]:
  """Returns the sorted audio files below a folder, with forward slashes."""
  _folders(name, pathlib.Path(path))
  names = []
  for folder, _, files in os.walk(path, followlinks=True):
    inside = pathlib.Path(folder).relative_to(path)
    names += [
      (inside / file).as_posix()
      for file in files
      if file.lower().endswith(EXTENSIONS) and not file.startswith(".")
    ]
  if not names:
    raise ValueError(
      f"{name}: no audio in {path!r} or below it; files must end in one of: "
      f"{', '.join(EXTENSIONS)}"
    )
  return sorted(names)


def _transcripts(chapter: pathlib.Path) -> dict[str, str]:
  """Returns utterance -> text of a chapter's folder."""
  lines = [
    line
    for file in sorted(chapter.glob("*.trans.txt"))
    for line in file.read_text(encoding="utf-8").splitlines()
  ]
  pairs = (line.partition(" ") for line in lines)
  return {name: text.strip() for name, _, text in pairs}
