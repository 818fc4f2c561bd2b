"""Texts in arrays."""

from collections.abc import Iterator

from d2v_jax.data import arrays as arrays_lib
from d2v_jax.data.array_files import ArrayFiles
from d2v_jax.data.arrays import Arrays
from d2v_jax.data.label_values import LabelValues, labelled
from d2v_jax.data.source import Record
from d2v_jax.data.text.lines import each_a_document

_OWNER = "TextArrays"


class TextArrays:
  """Texts in arrays or lists; each is a document, whose lines are sentences.

  Args:
    arrays: name -> array or list: texts [n]; labels [n], whole numbers or
      texts.
    name: of all of them, for names of records.
    text: name of the texts.
    text_b: name of the second texts of pairs; None for single texts.
    label: name of the labels; may be missing if it is the default; None for
      none.
    classes: see `labelled`.
    numeric: labels are numbers, not classes.

  Raises:
    ValueError: no such array, something that is no text, or wrong labels.
  """

  def __init__(
    self,
    arrays: Arrays,
    name: str,
    *,
    text: str = "text",
    text_b: str | None = None,
    label: str | None = "label",
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
  ):
    self._texts = {
      key: arrays_lib.texts_of(
        arrays_lib.required(arrays, column, key, _OWNER), column, _OWNER
      )
      for key, column in {"text": text, "text_b": text_b}.items()
      if column is not None
    }
    labels = arrays_lib.taken(arrays, label, "label", "label", _OWNER)
    arrays_lib.check_equally_long({**self._texts, str(label): labels}, _OWNER)
    self._name = name
    self.class_names: tuple[str, ...] = ()
    self.labels: LabelValues | None = None
    if labels is not None:
      self.labels, self.class_names = labelled(
        labels, f"{_OWNER}: {label!r}", classes=classes, numeric=numeric
      )

  def __len__(self) -> int:
    return len(self._texts["text"])

  def __getitem__(self, index: int) -> Record:
    record: Record = {k: texts[index] for k, texts in self._texts.items()}
    if self.labels is not None:
      record["label"] = self.labels[index]
    return record

  def record_name(self, index: int) -> str:
    """Returns for example 'reviews.npz[3]'."""
    return f"{self._name}[{index}]"

  def documents(self) -> Iterator[list[str]]:
    """Yields the lines of each text, those of its second text last."""
    return each_a_document(self)


class TextArrayFiles(TextArrays):
  """Texts in .npy or .npz files.

  Args:
    path: see `ArrayFiles`.
    text: see `TextArrays`, as the others.
    text_b: name of the second texts of pairs.
    label: name of the labels.
    classes: their names.
    numeric: whether they are numbers.

  Raises:
    ValueError: as `ArrayFiles` and `TextArrays`.
  """

  def __init__(
    self,
    path: str,
    text: str = "text",
    text_b: str | None = None,
    label: str | None = "label",
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
  ):
    super().__init__(
      ArrayFiles(path, text, _OWNER),
      path,
      text=text,
      text_b=text_b,
      label=label,
      classes=classes,
      numeric=numeric,
    )
