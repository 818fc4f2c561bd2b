"""What config.data becomes: one contract for images, speech, signals and text.

Each modality has one dataset (`ImageData`, `SpeechData`, `TextData`), which
makes examples for training, for evaluation and for feature extraction alike.
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError, FromRun
from d2v_jax.data.buckets import Buckets
from d2v_jax.data.checking.look import Look, at_anything
from d2v_jax.data.class_sets import ClassSets
from d2v_jax.data.labels import Labels, RecordLabel
from d2v_jax.data.mixed_examples import MixedExamples, MixedRecords
from d2v_jax.data.pipeline import check_reading
from d2v_jax.data.source import Example, Record
from d2v_jax.data.source_sections import Section, SourceSections, part_of

DATA, EVALUATION = "config.data", "config.evaluation"
_SOURCE = f"{DATA}.source"


class TrainingExamples(NamedTuple):
  """Examples to train on.

  Attributes:
    source: decoded records, each with 'requested' and 'record'.
    transform: (example, generator) -> the arrays of one row of a batch.
  """

  source: Any
  transform: Callable[[Example, np.random.Generator], Example]


class EvaluationExamples(NamedTuple):
  """Examples to evaluate, each record once.

  Attributes:
    source: decoded records, each with 'requested' and 'record'.
    transform: example -> the arrays of one row of a batch.
  """

  source: Any
  transform: Callable[[Example], Example]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset(abc.ABC):
  """config.data. Nothing is opened before it is asked for.

  Attributes:
    inputs: what the encoder takes, of `layout`.
    source: section of one of `sources`, or of a mixture of them, to train on.
    augment: further arguments of the training transform.
    num_threads: threads that read and augment, over all workers.
    num_workers: worker processes; 0 reads in the main one.
    max_corrupt: different corrupt records that a process passes over before it
      gives up.
    given: split -> data that stand in no file; None: there are none.
    classes: names of the classes in the order of the network's outputs, by
      which those of sources are numbered; None: each as the source has them.
    sources: name -> constructor of a source of records.
    needs_buckets: examples differ in length, so batches need lengths.
    normalised_at: section whose mean and std channels are normalised by.
  """

  inputs: Any
  given: FromRun[Mapping[str, Any] | None] = None
  source: Section | None = None
  augment: Section = dataclasses.field(default_factory=dict)
  num_threads: int = 16
  num_workers: int = 0
  max_corrupt: int = 100
  classes: tuple[str, ...] | None = None

  sources: ClassVar[Mapping[str, Callable]]
  needs_buckets: ClassVar[bool] = False
  normalised_at: ClassVar[str] = "config.encoder"

  def __post_init__(self) -> None:
    check_reading(self.num_threads, self.num_workers, self.max_corrupt)
    if self.classes is not None and len(set(self.classes)) < len(self.classes):
      raise ConfigError(f"{DATA}.classes has a name twice: {self.classes}.")

  # Fields, where a modality has such things.

  @property
  def buckets(self) -> Buckets | None:
    """Lengths of batches; None for examples that all have one shape."""
    return None

  @property
  def labels(self) -> Labels | None:
    """What makes the labels of records; None: nothing is said of them."""
    return None

  @abc.abstractmethod
  def transform(self) -> Callable[[Example, np.random.Generator], Example]:
    """What makes a row of a training batch of an example.

    Raises:
      ConfigError: names the field, what was got and what is allowed.
    """

  @property
  def by_record(self) -> bool:
    """Whether each example to train on is made of one record."""
    return True

  def check(self) -> None:
    """Raises what can be told before any data are read.

    Raises:
      ConfigError: names the field, what was got and what is allowed.
    """
    if self.source is not None:
      self._sections.check_to_train(self.source, _SOURCE)
    self.check_lengths(self.transform())

  def check_source(self, section: Section, where: str) -> None:
    """Raises ConfigError unless a section is one of a source of records.

    Args:
      section: of a split to evaluate.
      where: its path in the config.
    """
    self._sections.check(section, where)

  def check_lengths(self, transform: Any, shortest: int | None = None) -> None:
    """Raises ConfigError where examples of a bucket could not be masked.

    Args:
      transform: from `transform`.
      shortest: the smallest length of an example, where that is known.
    """
    for length in self.buckets.lengths if self.buckets is not None else ():
      with config_lib.errors_at(f"{DATA}.buckets.lengths={length}"):
        transform.check_length(length, shortest)

  def num_tokens(self, length: int | None = None) -> int:
    """Tokens N that the network makes of an example.

    Args:
      length: in samples or tokens; None for images, which have one size.
    """
    made = self.inputs.num_tokens
    return int(made if length is None else made(length))

  @abc.abstractmethod
  def blank(self, length: int | None = None) -> Example:
    """An example as `transform` takes it, with nothing on it and no data read.

    It has what labels are made of: the class 0, or no text.

    Args:
      length: in samples or tokens; None for images, which have one size.
    """

  def training(self, records: Any = None) -> TrainingExamples:
    """Makes the records of config.data.source ready to train on.

    Args:
      records: from `records`; None opens them.

    Raises:
      ConfigError: names the field, what was got and what is allowed.
    """
    transform = self.transform()
    records = self.records() if records is None else records
    if isinstance(records, MixedRecords):
      source = self._mixed(records, transform)
    else:
      with config_lib.errors_at(DATA):
        source = self.training_examples(records)
    if self.needs_buckets:
      self.check_lengths(transform, int(np.min(source.lengths)))
    return TrainingExamples(source, transform)

  @abc.abstractmethod
  def training_examples(self, records: Any) -> Any:
    """Makes of records the examples to train on.

    Args:
      records: a source, such as one of `sources`.

    Raises:
      ValueError: they do not fit.
    """

  def look(self, record: Record) -> Look:
    """What is seen of a record when data are checked.

    Args:
      record: of one of `sources`.

    Raises:
      Unreadable: why it cannot be used.
    """
    return at_anything(record)

  @abc.abstractmethod
  def evaluation(self, records: Any, where: str) -> EvaluationExamples:
    """Makes records ready for the network.

    Args:
      records: a source, such as one of `sources`.
      where: path of the records in the config, for errors.

    Raises:
      ConfigError: names the field, what was got and what is allowed.
    """

  def open(self, section: Section, where: str) -> Any:
    """Opens a source of records.

    Raises:
      ConfigError: names the field, what was got and what is allowed.
    """
    return self._sections.open(section, where)

  @abc.abstractmethod
  def given_records(self, value: Any, name: str) -> Any:
    """Makes a source of records of what is given in Python.

    Args:
      value: arrays, or records at random.
      name: of the split.

    Raises:
      ValueError: it is of another kind, or wrong in itself.
    """

  def records(self) -> Any:
    """Opens config.data.source.

    Raises:
      ConfigError: names the field, what was got and what is allowed.
    """
    if self.source is None:
      raise ConfigError(
        f"{_SOURCE}: missing; give a section with a name, one of: "
        f"{', '.join(self._sections.names)}."
      )
    if self.needs_buckets and self.buckets is None:
      raise ConfigError(
        f"{DATA}.buckets: examples differ in length; give the lengths of "
        "batches, such as buckets=dict(lengths=(...,)), in samples or tokens."
      )
    return self._sections.open_to_train(self.source, _SOURCE)

  @property
  def _sections(self) -> SourceSections:
    return SourceSections(
      self.sources, self.given, self.given_records, self.classes
    )

  def _mixed(self, records: MixedRecords, transform: Callable) -> MixedExamples:
    parts, rows = [], []
    for k, part in enumerate(records.parts):
      where = part_of(_SOURCE, k)
      with config_lib.errors_at(where):
        parts.append(self.training_examples(part))
        rows.append(self._row(parts[-1], transform))
        if rows[-1] != rows[0]:
          raise ConfigError(
            f"{where}: its examples become {rows[-1]}, but those of "
            f"sources[0] {rows[0]}; a batch needs the same of all."
          )
    with config_lib.errors_at(_SOURCE):
      return MixedExamples(parts, records.mixture)

  def _row(self, source: Any, transform: Callable) -> dict[str, Any]:
    """What a row of a batch has: name -> its dtype and shape."""
    example = source[0]
    if self.buckets is not None:
      example = {**example, "length": self.buckets.lengths[-1]}
    row = transform(example, np.random.default_rng(0))
    return {
      k: f"{x.dtype}{list(x.shape)}"
      for k, x in row.items()
      if k not in ("requested", "record")
    }

  def _labels_of(self, records: Any) -> Labels | None:
    """The labels of records; their classes where nothing else is said."""
    names = getattr(records, "class_names", None)
    if self.labels is not None or not names:
      return self.labels
    labels = getattr(records, "labels", None)
    if labels is not None and isinstance(labels[0], tuple):
      return ClassSets(len(names))
    return RecordLabel()
