"""Where recordings come from.

Records are {'audio': bytes of a file, or float32 [n] or [n, channels] with
'rate'; 'text' and 'label' if there are any}.
"""

import pathlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from d2v_jax.data.columns import Rows, TextColumn
from d2v_jax.data.files.class_folders import class_folders
from d2v_jax.data.files.walk import walk
from d2v_jax.data.source import Source
from d2v_jax.data.speech.arrays import AudioArrayFiles
from d2v_jax.data.speech.audio_files import AudioFiles
from d2v_jax.data.speech.hf import HfAudio
from d2v_jax.data.speech.manifest import Manifest
from d2v_jax.data.speech.tones import Tones

EXTENSIONS = (
  ".aac",
  ".aif",
  ".aiff",
  ".flac",
  ".m4a",
  ".mp3",
  ".oga",
  ".ogg",
  ".opus",
  ".wav",
)


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
    path: a mounted folder, listed as `walk` does.
    labels: True: the sorted names of the sub-folders that hold audio are the
      classes 0, 1, ... False: no labels, files are taken from any depth.
      None: labelled when there are such sub-folders and no file beside them.

  Attributes:
    listing: what is read, and what is left out.

  Raises:
    ValueError: no such folder, no audio in it, or `labels=True` without class
      folders or with files beside them.
  """

  def __init__(self, path: str, labels: bool | None = None):
    found = class_folders(
      path, EXTENSIONS, labels, owner="AudioFolder", what="audio"
    )
    columns = {}
    if found.labels is not None:
      columns["label"] = TextColumn(found.class_names[k] for k in found.labels)
    rows = Rows(columns, len(found.files))
    super().__init__(found.files, rows, found.labels, found.class_names)
    self.listing = found.listing


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
    files: list[str] = []
    columns: dict[str, list[str]] = {"split": [], "speaker": [], "text": []}
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
        columns["split"].append(subset)
        columns["speaker"].append(file.stem.split("-")[0])
        columns["text"].append(text)
    made = {name: TextColumn(values) for name, values in columns.items()}
    super().__init__(TextColumn(files), Rows(made, len(files)), text="text")


SOURCES: dict[str, type[RecordingSource]] = {
  "arrays": AudioArrayFiles,
  "folder": AudioFolder,
  "hf": HfAudio,
  "librispeech": LibriSpeech,
  "manifest": Manifest,
  "tones": Tones,
}


def _folders(name: str, root: pathlib.Path) -> list[str]:
  if not root.is_dir():
    raise ValueError(f"{name}: {str(root)!r} is not a folder; check the path")
  return sorted(entry.name for entry in root.iterdir() if entry.is_dir())


def _audio_files(name: str, path: str) -> Sequence[str]:
  """Returns the sorted audio files below a folder, with forward slashes."""
  listing = walk(path, EXTENSIONS, name)
  if not listing.files:
    raise ValueError(
      f"{name}: no audio in {path!r} or below it; files must end in one of: "
      f"{', '.join(EXTENSIONS)}. {listing.summary()}".strip()
    )
  return listing.files


def _transcripts(chapter: pathlib.Path) -> dict[str, str]:
  """Returns utterance -> text of a chapter's folder."""
  lines = [
    line
    for file in sorted(chapter.glob("*.trans.txt"))
    for line in file.read_text(encoding="utf-8").splitlines()
  ]
  pairs = (line.partition(" ") for line in lines)
  return {name: text.strip() for name, _, text in pairs}
