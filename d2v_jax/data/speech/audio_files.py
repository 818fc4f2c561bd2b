"""Audio files of a folder, with what their place says about them."""

import concurrent.futures
import logging
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from d2v_jax.data.speech import decoding

Record = dict[str, Any]
Header = tuple[int, int]  # samples per channel, samples per second

EXTENSIONS = (".flac", ".mp3", ".ogg", ".opus", ".wav")

_SCAN_THREADS = 32  # more than cores: a scan waits for the disk


class AudioFiles:
  """Audio files, read when asked for; what the sources below have in common.

  Attributes:
    files: paths, or for records of array_record shards the shards' paths.
    rows: what is known of each file, column -> text.
    class_names: the classes, empty when unlabelled or labelled by numbers.
  """

  def __init__(
    self,
    files: list[str],
    rows: list[dict[str, str]],
    labels: list[int] | list[float] | None = None,
    class_names: tuple[str, ...] = (),
    text: str | None = None,
  ):
    self.files = files
    self.rows = rows
    self.class_names = class_names
    self._labels = labels
    self._text = text

  def __len__(self) -> int:
    return len(self.files)

  def __getitem__(self, index: int) -> Record:
    record: Record = {"audio": self.read(index)}
    if self._text is not None and self.rows[index][self._text]:
      record["text"] = self.rows[index][self._text]
    if self._labels is not None:
      record["label"] = self._labels[index]
    return record

  def read(self, index: int) -> bytes:
    """Returns the bytes of a file."""
    return pathlib.Path(self.files[index]).read_bytes()

  def record_name(self, index: int) -> str:
    """Returns the path of the file."""
    return self.files[index]

  def texts(self) -> list[str] | None:
    """Returns the texts, '' where there is none; None when none has one."""
    if self._text is None:
      return None
    return [row[self._text] for row in self.rows]

  def header(self, index: int) -> Header | None:
    """Returns samples per channel and per second; None when unreadable."""
    return decoding.header(self.files[index])

  def headers(
    self, progress: Callable[[int], None] | None = None
  ) -> list[Header | None]:
    """Returns `header` of each file, scanned by many threads.

    Args:
      progress: called now and then with the number of files done.
    """
    found = []
    with concurrent.futures.ThreadPoolExecutor(_SCAN_THREADS) as pool:
      for header in pool.map(self.header, range(len(self))):
        found.append(header)
        if progress is not None and len(found) % 100 == 0:
          progress(len(found))
    return found

  def lengths(self, sample_rate: int) -> np.ndarray:
    """Returns int64 [n], samples after resampling; 0 where unreadable."""
    logging.info(
      "reading the headers of %d files from %s on; python -m "
      "d2v_jax.data.manifest writes them down once for all runs",
      len(self),
      self.record_name(0),
    )
    return resampled_lengths(self.headers(), sample_rate)


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
    found = _audio_files("AudioFolder", path)
    loose = [file for file in found if "/" not in file]
    if labels and loose:
      raise ValueError(
        f"AudioFolder: labels=True needs every file in a class folder, but "
        f"{len(loose)} lie directly in {path!r}, for example {loose[0]!r}; "
        "move them or set labels=False"
      )
    files = [str(pathlib.Path(path) / file) for file in found]
    if not (not loose if labels is None else labels):
      super().__init__(files, [{} for _ in files])
      return
    names = [file.split("/")[0] for file in found]
    classes = tuple(sorted(set(names)))
    number = {name: k for k, name in enumerate(classes)}
    rows = [{"label": name} for name in names]
    super().__init__(files, rows, [number[name] for name in names], classes)


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


def resampled_lengths(
  headers: list[Header | None], sample_rate: int
) -> np.ndarray:
  """Returns int64 [n], samples after resampling; 0 where unreadable."""
  lengths = [
    0 if header is None else decoding.resampled_length(*header, sample_rate)
    for header in headers
  ]
  return np.array(lengths, np.int64)


def _folders(name: str, root: pathlib.Path) -> list[str]:
  if not root.is_dir():
    raise ValueError(f"{name}: {str(root)!r} is not a folder; check the path")
  return sorted(entry.name for entry in root.iterdir() if entry.is_dir())


def _audio_files(name: str, path: str) -> list[str]:
  """Returns the sorted audio files below a folder, with forward slashes."""
  _folders(name, pathlib.Path(path))
  found = []
  for folder, _, files in os.walk(path, followlinks=True):
    inside = pathlib.Path(folder).relative_to(path)
    found += [
      (inside / file).as_posix()
      for file in files
      if file.lower().endswith(EXTENSIONS) and not file.startswith(".")
    ]
  if not found:
    raise ValueError(
      f"{name}: no audio in {path!r} or below it; files must end in one of: "
      f"{', '.join(EXTENSIONS)}"
    )
  return sorted(found)


def _transcripts(chapter: pathlib.Path) -> dict[str, str]:
  """Returns utterance -> text of a chapter's folder."""
  lines = [
    line
    for file in sorted(chapter.glob("*.trans.txt"))
    for line in file.read_text(encoding="utf-8").splitlines()
  ]
  pairs = (line.partition(" ") for line in lines)
  return {name: text.strip() for name, _, text in pairs}
