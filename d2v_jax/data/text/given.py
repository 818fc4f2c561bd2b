"""Texts given in Python."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from d2v_jax.data import given as given_lib
from d2v_jax.data.given import GivenRecords
from d2v_jax.data.hf.loading import is_dataset
from d2v_jax.data.hf.rows import HfRows
from d2v_jax.data.source import Record
from d2v_jax.data.text.arrays import TextArrays
from d2v_jax.data.text.hf import TextRows
from d2v_jax.data.text.lines import each_a_document


class GivenTexts(GivenRecords):
  """Texts of a source of the caller; each is a document.

  Args:
    source: records {'text': str, 'text_b': str when it holds pairs, 'label' if
      there is one}.
    name: of the split.

  Raises:
    ValueError: as `GivenRecords`.
  """

  def __init__(self, source: Any, name: str):
    super().__init__(source, name, "text", _record)

  def documents(self) -> Iterator[list[str]]:
    """Yields the lines of each text, those of its second text last."""
    return each_a_document(self)


def texts(value: Any, name: str) -> TextArrays | TextRows | GivenTexts:
  """Returns texts as a source.

  Args:
    value: texts, or arrays as of `TextArrays`, by name with `classes` and
      `numeric`; or records, see `GivenTexts`.
    name: of the split.

  Raises:
    ValueError: it is none of these, or wrong in itself.
  """
  if is_dataset(value):
    return TextRows(HfRows(value, name))
  if isinstance(value, Mapping):
    arrays, options = given_lib.arrays_and_options(value, TextArrays)
    pairs = "text_b" if "text_b" in arrays else None
    return TextArrays(arrays, name, text_b=pairs, **options)
  if given_lib.is_arrays(value):
    return TextArrays({"text": value}, name)
  return GivenTexts(value, name)


def _record(record: Record) -> Record:
  made: Record = {}
  for key in ("text", "text_b"):
    if key in record:
      if not isinstance(record[key], str):
        raise ValueError(
          f"data: {key!r} of a record must be text, got "
          f"{type(record[key]).__name__}"
        )
      made[key] = record[key]
  if "label" in record:
    made["label"] = np.asarray(record["label"]).item()
  return made
