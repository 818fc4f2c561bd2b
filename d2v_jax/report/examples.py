"""Some examples of a split, as an evaluation reads them."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from d2v_jax.data.buckets import Buckets
from d2v_jax.data.dataset import EVALUATION, EvaluationExamples
from d2v_jax.data.layout import SpectrogramInputs, WaveformInputs
from d2v_jax.data.mel import RATE
from d2v_jax.report.opened import Opened
from d2v_jax.report.pictures.drawer import Row


@dataclasses.dataclass(frozen=True)
class Shown:
  """An example.

  Attributes:
    index: in its source.
    name: of its record.
    row: what the network takes.
    label: class number; None where there is none, or it is something else.
    samples: of a recording, to be heard; None for what cannot be.
    rate: of them, per second.
  """

  index: int
  name: str
  row: Row
  label: int | None
  samples: np.ndarray | None
  rate: float


@dataclasses.dataclass(frozen=True)
class Part:
  """Some examples of a split.

  Attributes:
    split: path in the config.
    source: all of them.
    transform: example -> the arrays of a row.
    buckets: lengths of rows; None for one shape.
    indices: of those that are in the part, in the order of a draw.
    threads: that read.
    inputs: what the network takes.
  """

  split: str
  source: Any
  transform: Any
  buckets: Buckets | None
  indices: np.ndarray
  threads: int
  inputs: Any

  @property
  def class_names(self) -> tuple[str, ...]:
    """Of the labels; () where the source knows none."""
    return tuple(map(str, getattr(self.source, "class_names", ()) or ()))

  def said(self, shown: Shown) -> str:
    """The class of an example in words; '' where it has none."""
    if shown.label is None:
      return ""
    names = self.class_names
    return names[shown.label] if shown.label < len(names) else str(shown.label)

  def only(self, indices: np.ndarray) -> "Part":
    """The part of these examples of the source."""
    return dataclasses.replace(self, indices=indices)

  def read(self, indices: np.ndarray) -> list[Shown]:
    """Reads examples; those that cannot be read are left out.

    Args:
      indices: of the source [n].
    """
    with ThreadPoolExecutor(self.threads) as pool:
      found = pool.map(self._read, indices.tolist())
      return [x for x in found if x is not None]

  def _read(self, index: int) -> Shown | None:
    example = self.source[index]
    if example["record"] != example["requested"]:
      return None  # another one stands in for it
    if self.buckets is not None:
      (held,) = self.buckets.assign(np.array([self.source.lengths[index]]))
      example = {**example, "length": int(self.buckets.lengths[held])}
    row = dict(self.transform(example))
    label = row.pop("label", None)
    is_class = (
      label is not None
      and np.ndim(label) == 0
      and np.issubdtype(np.asarray(label).dtype, np.integer)
    )
    samples, rate = None, 0.0
    if isinstance(self.inputs, SpectrogramInputs):
      samples, rate = example["samples"], RATE
    elif isinstance(self.inputs, WaveformInputs) and row["inputs"].ndim == 1:
      samples, rate = example["samples"], self.inputs.rate
    return Shown(
      index,
      self.source.record_name(index),
      row,
      int(label) if is_class else None,
      samples,
      rate,
    )


def parts(opened: Opened, learned: int, asked: int) -> tuple[Part, Part]:
  """Examples to look for neighbours among, and those whose they are.

  Of the splits of config.evaluation, or without these both of the training
  data.

  Args:
    opened: the run.
    learned: at most so many of the first.
    asked: at most so many of the second.

  Raises:
    ValueError: the data cannot be read.
  """
  splits = opened.evaluation.splits
  test = next((x for x in sorted(splits) if x.startswith("test")), None)
  if "train" in splits and test is not None:
    bank = some(opened, "train", learned)
    # A probe holds out the same ones as the run's where it has all.
    return bank.only(np.sort(bank.indices)), some(opened, test, asked)
  whole = _part(opened, "config.data.source", opened.dataset.records())
  drawn = np.random.default_rng(0).permutation(len(whole.source))
  asked = min(asked, len(drawn) // 3)
  others = whole.only(np.sort(drawn[asked:][:learned]))
  return others, whole.only(drawn[:asked])


def some(opened: Opened, split: str, count: int) -> Part:
  """Examples of a split of config.evaluation, drawn at random.

  Args:
    opened: the run.
    split: its name.
    count: at most so many.

  Raises:
    ValueError: the data cannot be read.
  """
  where = f"{EVALUATION}.{split}"
  section = opened.evaluation.splits[split]
  whole = _part(opened, where, opened.dataset.open(section, where))
  drawn = np.random.default_rng(0).permutation(len(whole.source))[:count]
  return whole.only(drawn)


def _part(opened: Opened, where: str, records: Any) -> Part:
  made: EvaluationExamples = opened.dataset.evaluation(records, where)
  return Part(
    where,
    *made,
    opened.evaluation.buckets(made.source),
    np.zeros(0, int),
    opened.dataset.num_threads,
    opened.dataset.inputs,
  )
