"""Files of the UCR and UEA archives of time series, .ts."""

import pathlib
from collections.abc import Iterator

import numpy as np

from d2v_jax.data.label_values import LabelValues, labelled
from d2v_jax.data.signals.rates import same_rates
from d2v_jax.data.source import Record

_OWNER = "TsFile"
_LABELS = ("@classlabel", "@targetlabel")


class TsFile:
  """Signals of a .ts file; one or more channels, of any lengths.

  A line is a signal: its channels parted by colons, their values by commas,
  '?' for a missing one, and last its label, if the header says so: as
  `@classLabel true` with the classes, or as `@targetLabel true`, a number.

  Args:
    path: the file.
    rate: samples per second, which the file does not say; None: the network's.

  Attributes:
    sizes: int64 [n], samples of each signal.
    rates: float64 [n], samples per second of each; 0 where that is not known.
    labels: class numbers, or floats; None if unlabelled.
    class_names: the classes, in the header's order.

  Raises:
    ValueError: there is no such file, or it is none.

  Source: the format is described by the archives at
  timeseriesclassification.com; time stamps, which it allows, are refused.
  """

  def __init__(self, path: str, rate: float | None = None):
    self._path = path
    if not pathlib.Path(path).is_file():
      raise ValueError(f"{_OWNER}: no such file: {path!r}")
    header, lines = _parts(path)
    given = [header[name] for name in _LABELS if name in header]
    has_label = any(map(_is_true, given))
    self._signals, texts = [], []
    for number, line in lines:
      channels = line.split(":")
      if has_label:
        texts.append(channels.pop().strip())
      self._signals.append(_signal(channels, f"{path}:{number}"))
    if not self._signals:
      raise ValueError(f"{_OWNER}: {path!r} has no signals after @data")
    self.sizes = np.array([len(x) for x in self._signals], np.int64)
    self.rates = same_rates(_OWNER, rate, len(self))
    self.class_names: tuple[str, ...] = ()
    self.labels: LabelValues | None = None
    if _is_true(header.get("@classlabel", [])):
      classes = tuple(header["@classlabel"][1:])
      self.labels, self.class_names = labelled(
        texts, f"{_OWNER}: {path}", classes=classes
      )
    elif has_label:
      self.labels, _ = labelled(
        [_number(x, path) for x in texts], f"{_OWNER}: {path}", numeric=True
      )

  def __len__(self) -> int:
    return len(self._signals)

  def __getitem__(self, index: int) -> Record:
    record: Record = {"signal": self._signals[index]}
    if self.labels is not None:
      record["label"] = self.labels[index]
    return record

  def record_name(self, index: int) -> str:
    """Returns for example 'walks.ts[3]'."""
    return f"{self._path}[{index}]"


def _parts(
  path: str,
) -> tuple[dict[str, list[str]], Iterator[tuple[int, str]]]:
  """The header, name -> what follows, and the numbered lines after it."""
  lines = enumerate(
    pathlib.Path(path).read_text(encoding="utf-8-sig").splitlines(), 1
  )
  header: dict[str, list[str]] = {}
  for _, line in lines:
    words = line.split()
    if not words or words[0].startswith("#"):
      continue
    name = words[0].lower()
    if name == "@data":
      break
    header[name] = words[1:]
  else:
    raise ValueError(f"{_OWNER}: {path!r} has no line @data; it is no .ts file")
  if _is_true(header.get("@timestamps", [])):
    raise ValueError(
      f"{_OWNER}: {path!r} has time stamps, which are not read; write its "
      "signals as arrays, or as a table with a column of time"
    )
  return header, ((n, x) for n, x in lines if x.strip())


def _is_true(words: list[str]) -> bool:
  return bool(words) and words[0].lower() == "true"


def _signal(channels: list[str], where: str) -> np.ndarray:
  """Channels as texts to numbers [T, C]."""
  rows = []
  for text in channels:
    values = text.replace("?", "nan").split(",")
    rows.append([_number(x, where) for x in values])
  if len({len(row) for row in rows}) != 1:
    raise ValueError(
      f"{_OWNER}: {where}: its channels have {[len(x) for x in rows]} values; "
      "all of a signal must have as many"
    )
  return np.array(rows).T


def _number(text: str, where: str) -> float:
  try:
    return float(text)
  except ValueError as error:
    raise ValueError(
      f"{_OWNER}: {where}: {text[:40]!r} is not a number"
    ) from error
