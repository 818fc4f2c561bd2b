"""Sections of what the network sees: its first examples, and their masks."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from d2v_jax.data import pipeline
from d2v_jax.data.dataset import TrainingExamples
from d2v_jax.data.layout import ImageInputs, TokenInputs, WaveformInputs
from d2v_jax.report import examples as examples_lib
from d2v_jax.report.markup import Element, add, table, tag
from d2v_jax.report.opened import Opened
from d2v_jax.report.page import note
from d2v_jax.report.pictures.drawer import Drawer, Row
from d2v_jax.report.pictures.encoded import sound

EXAMPLES = 6
_MOST_MASKS = 3
_MOST_CLASSES = 40


def content(opened: Opened, drawer: Drawer) -> list[Element]:
  """Examples of the first update, as the network saw them, and their masks.

  Args:
    opened: the run.
    drawer: of its examples.

  Raises:
    ValueError: the data cannot be read.
    OSError: likewise.
  """
  if "batch_size" not in opened.config:
    raise ValueError("nothing is trained here: config.batch_size is missing.")
  examples = opened.dataset.training()
  rows, names = first_rows(opened, examples)
  figures = [
    _figure(opened, drawer, row, name)
    for row, name in zip(rows, names, strict=True)
  ]
  return [
    note(_told(rows)),
    tag("div", *figures, class_="seen"),
    _facts(opened, examples.source),
  ]


def evaluated(opened: Opened, drawer: Drawer, split: str) -> list[Element]:
  """Examples of a split as an evaluation reads them, with their classes.

  Args:
    opened: the run.
    drawer: of its examples.
    split: name in config.evaluation.

  Raises:
    ValueError: the data cannot be read.
    OSError: likewise.
  """
  part = examples_lib.some(opened, split, EXAMPLES)
  figures = []
  for shown in part.read(part.indices):
    caption = tag("figcaption", tag("span", shown.name))
    if label := part.said(shown):
      caption.insert(0, tag("b", label))
    made = tag("figure", caption, drawer.plain(shown.row))
    if shown.samples is not None:
      made.append(sound(shown.samples, shown.rate))
    figures.append(made)
  return [
    note(
      f"Some of {len(part.source):,} examples, drawn at random, as an "
      "evaluation reads them; above each its class."
    ),
    tag("div", *figures, class_="seen"),
  ]


def first_rows(
  opened: Opened, examples: TrainingExamples, count: int = EXAMPLES
) -> tuple[list[Row], list[str]]:
  """Rows of the first batch of a run, and the names of their records.

  Args:
    opened: the run.
    examples: what it trains on.
    count: rows that are wanted; there may be some more, or fewer.
  """
  config, dataset = opened.config, opened.dataset
  size = config["batch_size"]
  # One of several processes has each so-many-th row of the same batch.
  rows = next((n for n in range(count, size) if size % n == 0), size)
  batches = pipeline.train_batches(
    *examples,
    seed=config["seed"],
    batch_size=size,
    num_threads=min(rows, dataset.num_threads),
    process_count=size // rows,
    max_corrupt=dataset.max_corrupt,
    buckets=dataset.buckets,
  )
  with contextlib.closing(batches):
    batch = next(batches)
    names = batches.names(batches.records)
  made: list[Row] = [{k: x[i] for k, x in batch.items()} for i in range(rows)]
  return made[:count], names[:count]


def _figure(opened: Opened, drawer: Drawer, row: Row, name: str) -> Element:
  inputs = opened.dataset.inputs
  masks = np.atleast_2d(row["mask"])[:_MOST_MASKS] if "mask" in row else ()
  made = tag("figure", tag("figcaption", tag("span", name)))
  pictures = [drawer.hidden(row, mask) for mask in masks]
  # What is hidden of a text can be read.
  if not pictures or not isinstance(inputs, TokenInputs):
    pictures.insert(0, drawer.plain(row))
  if len(masks) > 1 and isinstance(inputs, ImageInputs):
    pictures = [tag("div", *pictures, class_="maps")]
  add(made, *pictures)
  if len(masks):
    hidden = ", ".join(f"{x.sum()} of {drawer.tokens(row)}" for x in masks)
    made.append(tag("p", f"hidden: {hidden}", class_="small"))
  if isinstance(inputs, WaveformInputs) and row["inputs"].ndim == 1:
    made.append(sound(row["inputs"], inputs.rate))
  return made


def _told(rows: list[Row]) -> str:
  told = (
    "Examples of the first update, read, augmented and masked by the same code "
    "and with the same draws as in training."
  )
  if "mask" not in rows[0]:
    return f"{told} Nothing is hidden: config.data has no mask."
  told += " Hatched is what the student does not see, and predicts."
  if rows[0]["mask"].ndim == 2:
    masks = len(rows[0]["mask"])
    shown = min(masks, _MOST_MASKS)
    told += f" Each example has {masks} masks, of which {shown} are shown."
  return told


def _facts(opened: Opened, source: Any) -> Element:
  """How many examples there are, of which classes, and how they are made."""
  data: Mapping[str, Any] = opened.config.get("data") or {}
  names = getattr(source, "class_names", ())
  rows: list[tuple[Element | str, ...]] = [
    ("examples to train on", f"{len(source):,}")
  ]
  if names:
    listed = ", ".join(map(str, names[:_MOST_CLASSES]))
    more = len(names) - _MOST_CLASSES
    rows.append(
      (
        "classes",
        f"{len(names)}: {listed}" + (f" and {more} more" * (more > 0)),
      )
    )
  for key, value in data.items():
    if key != "classes" and value is not None:
      words = tag("code", json.dumps(value, ensure_ascii=False))
      rows.append((f"data.{key}", words))
  for key in ("mean", "std"):
    if key in opened.config["encoder"]:
      value = opened.config["encoder"][key]
      rows.append((f"encoder.{key}", tag("code", json.dumps(value))))
  return table((), rows)
