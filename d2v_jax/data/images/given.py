"""Images given in Python."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from d2v_jax.data import given as given_lib
from d2v_jax.data.given import GivenRecords
from d2v_jax.data.hf.loading import is_dataset
from d2v_jax.data.hf.rows import HfRows
from d2v_jax.data.images.arrays import ImageArrays
from d2v_jax.data.images.hf import ImageRows
from d2v_jax.data.label_values import of_record
from d2v_jax.data.source import Record


def images(value: Any, name: str) -> ImageArrays | ImageRows | GivenRecords:
  """Returns images as a source.

  Args:
    value: arrays as of `ImageArrays`, by name with `classes`, or the images
      alone; or records {'image': encoded bytes, or numbers [H, W] or
      [H, W, C], 'label': int if there is one}.
    name: of the split.

  Raises:
    ValueError: it is none of these, or wrong in itself.
  """
  if is_dataset(value):
    return ImageRows(HfRows(value, name))
  if isinstance(value, Mapping):
    arrays, options = given_lib.arrays_and_options(value, ImageArrays)
    return ImageArrays(arrays, name, **options)
  if given_lib.is_arrays(value):
    return ImageArrays({"image": value}, name)
  return GivenRecords(value, name, "image", _record)


def _record(record: Record) -> Record:
  image = record["image"]
  if not isinstance(image, bytes):
    image = np.asarray(image)
    image = image[..., None] if image.ndim == 2 else image
  made = {"image": image}
  if "label" in record:
    made["label"] = of_record(record["label"])
  return made
