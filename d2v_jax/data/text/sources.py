"""Where texts come from.

Records are {'text': str, 'text_b': str when it holds pairs, 'label': int or
float when labelled}. `class_names` is empty when there are no classes.
"""

import os
import pathlib
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from d2v_jax.data import tables
from d2v_jax.data.prepared_builder import PreparedBuilder
from d2v_jax.data.source import Record, Source
from d2v_jax.data.text.arrays import TextArrayFiles
from d2v_jax.data.text.glue import Glue
from d2v_jax.data.text.hf import HfTexts
from d2v_jax.data.text.lines import each_a_document
from d2v_jax.data.text.text_files import TextFiles
from d2v_jax.data.text.token_cache import Tokens

KJV = pathlib.Path(__file__).parents[1] / "embedded/text_kjv7.tsv.gz"


class TextSource(Source, Protocol):
  """A source of texts, which also yields whole documents."""

  class_names: tuple[str, ...]

  def documents(self) -> Iterator[list[str]]:
    """Yields the sentences of each document."""
    ...


class TextTable:
  """The chosen rows of a table; each row is a document.

  Args:
    path: a file, see `tables.Table`.
    split: short for `only={"split": split}`.
    only: column -> value or values that a row must have.
    exclude: column -> value or values that a row must not have.
    label: column of the labels; None for no labels.
    classes: the classes in order; None for the sorted labels of the file.
    numeric: labels are numbers, not classes.
    label_separator: what parts several classes of a row, see `tables.Table`.
    text: column of the text.
    text_b: column of the second text of a pair; None for single texts.
    quotes: see `tables.Table`.

  Raises:
    ValueError: as `tables.Table`, or there is no such text column.
  """

  def __init__(
    self,
    path: str | os.PathLike[str],
    split: str | None = None,
    only: tables.Choice | None = None,
    exclude: tables.Choice | None = None,
    label: str | None = None,
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
    label_separator: str | None = None,
    text: str = "text",
    text_b: str | None = None,
    quotes: bool = True,
  ):
    self._table = tables.Table(
      path,
      split=split,
      only=only,
      exclude=exclude,
      label=label,
      classes=classes,
      numeric=numeric,
      label_separator=label_separator,
      quotes=quotes,
    )
    columns = {"text": text, "text_b": text_b}
    self._texts = {
      key: self._table.column(column)
      for key, column in columns.items()
      if column is not None
    }
    self.class_names = self._table.class_names
    self.labels = self._table.labels

  def __len__(self) -> int:
    return len(self._table)

  def __getitem__(self, index: int) -> Record:
    record: Record = {k: texts[index] for k, texts in self._texts.items()}
    if self.labels is not None:
      record["label"] = self.labels[index]
    return record

  def record_name(self, index: int) -> str:
    """Returns for example 'verses.tsv:12', file and line."""
    return self._table.name(index)

  def documents(self) -> Iterator[list[str]]:
    """Yields the lines of each row, those of its second text last."""
    return each_a_document(self)


class Kjv(TextTable):
  """Embedded: 7004 verses of the King James Bible in 7 groups of books.

  Args:
    split: 'train' (5682 verses) or 'test' (1322); no chapter is in both.
    label: whether records have the group as their label.

  Raises:
    ValueError: unknown split.
  """

  def __init__(self, split: str = "train", label: bool = True):
    super().__init__(KJV, split=split, label="label" if label else None)


class TfdsText:
  """A prepared TensorFlow Datasets builder, read without TensorFlow.

  Each record is a document; its lines are the sentences.

  Args:
    builder: name, with config and version if need be ('glue/sst2').
    split: any split expression, such as 'train' or 'train[:10%]'.
    data_dir: folder of prepared data sets; None for the library's default.
    text_key: feature that holds the text.
    label_key: feature that holds the label; ignored when there is none.
    text_b_key: feature that holds the second text of a pair; None for single
      texts.

  Raises:
    ValueError: the data is not there in array_record format, or it has no
      such split or text feature.
  """

  def __init__(
    self,
    builder: str,
    split: str,
    data_dir: str | None = None,
    text_key: str = "text",
    label_key: str = "label",
    text_b_key: str | None = None,
  ):
    prepared = PreparedBuilder("TfdsText", builder, data_dir)
    self._data = prepared.records(split)
    features = prepared.features
    self._keys = {"text": text_key, "text_b": text_b_key}
    for argument, key in self._keys.items():
      if key is not None:
        prepared.require(f"{argument}_key", key)
    self._label_key = label_key if label_key in features else None
    label = features[label_key] if self._label_key else None
    self.class_names: tuple[str, ...] = tuple(getattr(label, "names", ()))
    self._name = f"{builder}/{split}"

  def __len__(self) -> int:
    return len(self._data)

  def __getitem__(self, index: int) -> Record:
    example = self._data[int(index)]
    record: Record = {
      name: example[key].decode("utf-8", "replace")
      for name, key in self._keys.items()
      if key is not None
    }
    if self._label_key is not None:
      record["label"] = np.asarray(example[self._label_key]).item()
    return record

  def record_name(self, index: int) -> str:
    """Returns for example 'glue/sst2/train[3]'."""
    return f"{self._name}[{index}]"

  def documents(self) -> Iterator[list[str]]:
    """Yields the lines of each record, those of its second text last."""
    return each_a_document(self)


SOURCES: dict[str, type[Source]] = {
  "arrays": TextArrayFiles,
  "glue": Glue,
  "hf": HfTexts,
  "kjv": Kjv,
  "lines": TextFiles,
  "table": TextTable,
  "tfds": TfdsText,
  "tokens": Tokens,
}
