"""Which drawer is that of a data set."""

import dataclasses

from d2v_jax.data.dataset import Dataset
from d2v_jax.data.layout import (
  ImageInputs,
  SpectrogramInputs,
  TokenInputs,
  WaveformInputs,
)
from d2v_jax.data.text import tokenizer
from d2v_jax.data.text.dataset import TextData
from d2v_jax.report.pictures.drawer import Drawer
from d2v_jax.report.pictures.images import ImageDrawer, SpectrogramDrawer
from d2v_jax.report.pictures.recordings import RecordingDrawer
from d2v_jax.report.pictures.texts import TextDrawer


def drawer(dataset: Dataset) -> Drawer:
  """What draws the rows that a data set makes.

  Raises:
    ValueError: the tokenizer of texts cannot be read.
  """
  inputs = dataset.inputs
  if isinstance(inputs, SpectrogramInputs):
    return SpectrogramDrawer(inputs)
  if isinstance(inputs, ImageInputs):
    return ImageDrawer(inputs)
  if isinstance(inputs, WaveformInputs):
    return RecordingDrawer(inputs)
  assert isinstance(inputs, TokenInputs) and isinstance(dataset, TextData)
  if dataset.tokenizer is None:
    raise ValueError("config.data.tokenizer is missing")
  fields = dataclasses.asdict(dataset.tokenizer)
  made = tokenizer.load(**{k: v for k, v in fields.items() if v is not None})
  return TextDrawer(made, inputs.vocab_size)
