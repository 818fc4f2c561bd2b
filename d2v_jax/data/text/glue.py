"""GLUE: nine tasks of understanding text, as its own folders of TSV files."""

import dataclasses
import logging
import math
import os
from collections.abc import Iterator
from typing import Any

from etils import epath

from d2v_jax.data.table_files import numbered_lines

Record = dict[str, Any]

# The files of QQP have some lines that are broken in two; more than this share
# of lines is another kind of file.
_MOST_BROKEN = 0.01
_NO_AGREEMENT = "-"  # MNLI's label where the annotators disagree
_TOP_SCORE = 5.0  # of STS-B


@dataclasses.dataclass(frozen=True)
class Task:
  """Where the files of a task have what.

  Attributes:
    texts: columns of the one or two texts.
    label: column of the label.
    classes: names of the classes, in the order of their numbers; none if the
      labels are scores.
    values: what the files have for each class.
    splits: names of the files, without '.tsv'.
    columns: of train.tsv and dev.tsv where these have no header.
  """

  texts: tuple[str, ...]
  label: str = "label"
  classes: tuple[str, ...] = ()
  values: tuple[str, ...] = ("0", "1")
  splits: tuple[str, ...] = ("train", "dev", "test")
  columns: tuple[str, ...] = ()


_SENTENCES = ("sentence1", "sentence2")
_TWO = ("entailment", "not_entailment")
_THREE = ("entailment", "neutral", "contradiction")
_MNLI_SPLITS = (
  "train",
  *("dev_matched", "dev_mismatched"),
  *("test_matched", "test_mismatched"),
)

TASKS = {
  "cola": Task(
    ("sentence",),
    classes=("unacceptable", "acceptable"),
    columns=("source", "label", "mark", "sentence"),
  ),
  "mnli": Task(_SENTENCES, "gold_label", _THREE, _THREE, _MNLI_SPLITS),
  "mrpc": Task(
    ("#1 String", "#2 String"), "Quality", ("not_equivalent", "equivalent")
  ),
  "qnli": Task(("question", "sentence"), "label", _TWO, _TWO),
  "qqp": Task(
    ("question1", "question2"), "is_duplicate", ("not_duplicate", "duplicate")
  ),
  "rte": Task(_SENTENCES, "label", _TWO, _TWO),
  "sst2": Task(("sentence",), classes=("negative", "positive")),
  "stsb": Task(_SENTENCES, "score"),
  "wnli": Task(_SENTENCES, classes=("not_entailment", "entailment")),
}


class Glue:
  """One split of one task.

  The files are read as GLUE gives them: nothing is quoted, so that quotes stay
  in the text; CoLA has no header where it has labels. Lines with another number
  of columns than the header are left out, counted and logged, and so are MNLI's
  pairs on whose label the annotators did not agree.

  Args:
    task: a name in `TASKS`.
    path: the task's folder, such as 'glue_data/CoLA', with train.tsv, ...
    split: name of the file, 'train', 'dev' or 'test'; MNLI has 'dev_matched'
      and 'dev_mismatched', and the same of 'test'.
    label: whether records have labels; the 'test' files have none.

  Attributes:
    class_names: the task's classes in the order of their numbers, in every
      split; empty for scores and without labels.
    left_out: numbers of lines left out, 'broken' and 'no agreement'.

  Raises:
    ValueError: unknown task or split, no such file, a column that it does not
      have, a label that is none of the task's, more than one line in a hundred
      broken, or no line left.

  Source: GLUE (arXiv 1804.07461). The classes are numbered as in TensorFlow
  Datasets. STS-B's scores, 0 to 5 in the files, are divided by 5, as for the
  released RoBERTa and data2vec recipes; correlations do not change.
  """

  def __init__(
    self,
    task: str,
    path: str | os.PathLike[str],
    split: str = "train",
    label: bool = True,
  ):
    if task not in TASKS:
      raise ValueError(
        f"Glue: unknown task {task!r}; choose one of: {', '.join(TASKS)}"
      )
    self._task = TASKS[task]
    if split not in self._task.splits:
      raise ValueError(
        f"Glue: unknown split {split!r} of task {task!r}; choose one of: "
        f"{', '.join(self._task.splits)}"
      )
    self._path = epath.Path(path) / f"{split}.tsv"
    self.class_names = self._task.classes if label else ()
    self.left_out = {"broken": 0, "no agreement": 0}
    self._lines: list[int] = []
    self._texts: list[tuple[str, ...]] = []
    self._labels: list[float] = []  # ints, where they are classes
    self._read(task, split, label)
    if not self._lines:
      raise ValueError(f"Glue: {self._path} has no rows")
    if any(self.left_out.values()):
      logging.warning(
        "%s: left out %d broken lines and %d without agreement on the label, "
        "kept %d",
        self._path,
        *self.left_out.values(),
        len(self),
      )

  def __len__(self) -> int:
    return len(self._lines)

  def __getitem__(self, index: int) -> Record:
    keys = ("text", "text_b")
    record: Record = dict(zip(keys, self._texts[index], strict=False))
    if self._labels:
      record["label"] = self._labels[index]
    return record

  def record_name(self, index: int) -> str:
    """Returns for example 'glue_data/RTE/dev.tsv:12', counting from 1."""
    return f"{self._path}:{self._lines[index]}"

  def documents(self) -> Iterator[list[str]]:
    """Yields the one or two texts of each record."""
    for texts in self._texts:
      yield [text for text in map(str.strip, texts) if text]

  def _read(self, task: str, split: str, label: bool) -> None:
    if not self._path.is_file():
      folder = self._path.parent
      there = [f.name for f in folder.iterdir()] if folder.is_dir() else []
      raise ValueError(
        f"Glue: no such file: {self._path}; the folder has: "
        f"{', '.join(sorted(there)) or 'nothing'}. Set path to the task's "
        "folder, such as 'glue_data/CoLA'"
      )
    lines = numbered_lines(self._path)
    columns = () if split == "test" else self._task.columns
    if not columns:
      columns = tuple(next(lines, (1, ""))[1].split("\t"))
    for name in (*self._task.texts, *(self._task.label,) * label):
      self._check_column(name, columns, task, split)
    texts_at = [columns.index(name) for name in self._task.texts]
    label_at = columns.index(self._task.label) if label else None
    broken, total = [], 0
    for number, line in lines:
      total += 1
      values = line.split("\t")
      if len(values) != len(columns):
        broken.append((number, len(values)))
        continue
      if label_at is not None:
        if values[label_at] == _NO_AGREEMENT:
          self.left_out["no agreement"] += 1
          continue
        self._labels.append(self._label(values[label_at], number))
      self._lines.append(number)
      self._texts.append(tuple(values[at] for at in texts_at))
    self.left_out["broken"] = len(broken)
    if len(broken) > _MOST_BROKEN * total:
      number, found = broken[0]
      raise ValueError(
        f"Glue: {self._path}:{number}: {found} columns instead of "
        f"{len(columns)}, and {len(broken)} of {total} lines are broken; is "
        "this GLUE's own file?"
      )

  def _check_column(
    self, name: str, columns: tuple[str, ...], task: str, split: str
  ) -> None:
    if name in columns:
      return
    if name == self._task.label and split.startswith("test"):
      raise ValueError(
        f"Glue: {self._path} has no labels, which GLUE keeps to itself; "
        "measure on a 'dev' split, or set label=False"
      )
    raise ValueError(
      f"Glue: {self._path} has no column {name!r}, which task {task!r} reads; "
      f"it has: {', '.join(columns)}. Set the task that belongs to the folder."
    )

  def _label(self, text: str, line: int) -> int | float:
    if text in self._task.values and self._task.classes:
      return self._task.values.index(text)
    allowed = f"one of: {', '.join(self._task.values)}"
    if not self._task.classes:
      score = _number(text)
      if 0 <= score <= _TOP_SCORE:
        return score / _TOP_SCORE
      allowed = f"a number from 0 to {_TOP_SCORE:g}"
    raise ValueError(
      f"Glue: {self._path}:{line}: {self._task.label!r} is {text!r}, but must "
      f"be {allowed}"
    )


def _number(text: str) -> float:
  try:
    return float(text)
  except ValueError:
    return math.nan
