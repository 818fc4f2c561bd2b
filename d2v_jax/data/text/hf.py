"""Texts in Parquet and Arrow files and in Hugging Face datasets."""

from collections.abc import Iterator

from d2v_jax.data.hf.loading import load
from d2v_jax.data.hf.rows import HfRows
from d2v_jax.data.source import Record
from d2v_jax.data.text.lines import sentences


class TextRows:
  """Texts of a dataset; each is a document, whose lines are sentences.

  Args:
    rows: the dataset.
    text: column of the texts.
    text_b: column of the second texts of pairs; None for single texts.
    label: column of the labels, of the type ClassLabel, whole numbers or texts;
      may be missing if it is the default; None for none.
    classes: see `labelled`; None for those of ClassLabel, if it is one.
    numeric: labels are numbers, not classes.

  Raises:
    ValueError: no such column, or another type; a label is missing.
  """

  def __init__(
    self,
    rows: HfRows,
    *,
    text: str = "text",
    text_b: str | None = None,
    label: str | None = "label",
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
  ):
    named = {"text": text, "text_b": text_b}
    self._columns = {k: v for k, v in named.items() if v is not None}
    for argument, column in self._columns.items():
      rows.check_text(column, argument)
    self._rows = rows
    self._texts = rows.dataset.select_columns(list(self._columns.values()))
    self.labels, self.class_names = rows.labels(label, classes, numeric)

  def __len__(self) -> int:
    return len(self._rows)

  def __getitem__(self, index: int) -> Record:
    row = self._texts[int(index)]
    record: Record = {k: row[v] or "" for k, v in self._columns.items()}
    if self.labels is not None:
      record["label"] = self.labels[index]
    return record

  def record_name(self, index: int) -> str:
    """Returns for example 'imdb/train[3]'."""
    return self._rows.row_name(index)

  def documents(self) -> Iterator[list[str]]:
    """Yields the lines of each text, those of its second text last."""
    columns = [self._rows.texts(v, k) for k, v in self._columns.items()]
    for texts in zip(*columns, strict=True):
      yield sentences("\n".join(texts))


class HfTexts(TextRows):
  """The same, of a path or a name.

  Args:
    path: see `loading.load`, as the next ones.
    split: such as 'train'.
    subset: configuration of the dataset.
    revision: commit or tag on the hub.
    streaming: must be False.
    text: see `TextRows`, as the next ones.
    text_b: column of the second texts of pairs.
    label: column of the labels.
    classes: their names.
    numeric: whether they are numbers.

  Raises:
    ValueError: as `loading.load` and `TextRows`.
  """

  def __init__(
    self,
    path: str,
    split: str | None = None,
    *,
    subset: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
    text: str = "text",
    text_b: str | None = None,
    label: str | None = "label",
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
  ):
    super().__init__(
      load(path, split, subset, revision, streaming),
      text=text,
      text_b=text_b,
      label=label,
      classes=classes,
      numeric=numeric,
    )
