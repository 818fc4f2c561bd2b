"""Images in Parquet and Arrow files and in Hugging Face datasets."""

import numpy as np

from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.hf.loading import load
from d2v_jax.data.hf.rows import HfRows
from d2v_jax.data.source import Record


class ImageRows:
  """Images of a dataset, each read when it is asked for.

  Args:
    rows: the dataset.
    image: column of the images, of the type Image, bytes of files, or arrays;
      None for the only one of the type Image, or `image`.
    label: column of the labels, of the type ClassLabel, whole numbers or texts;
      may be missing if it is the default; None for none.
    classes: see `labelled`; None for those of ClassLabel, if it is one.

  Raises:
    ValueError: no such column, or another type; a label is missing.
  """

  def __init__(
    self,
    rows: HfRows,
    *,
    image: str | None = None,
    label: str | None = "label",
    classes: tuple[str, ...] | None = None,
  ):
    self._rows = rows
    self._images = rows.column_of("Image", image, "image")
    self.labels, self.class_names = rows.labels(label, classes)

  def __len__(self) -> int:
    return len(self._rows)

  def __getitem__(self, index: int) -> Record:
    image = self._images[index]
    if isinstance(image, np.ndarray):
      image = image[..., None] if image.ndim == 2 else image
      if image.ndim != 3 or not 1 <= image.shape[2] <= 4:
        raise Unreadable(
          f"its shape is {list(image.shape)}; it must be [H, W] or [H, W, C], "
          "C 1 to 4"
        )
    record: Record = {"image": image}
    if self.labels is not None:
      record["label"] = self.labels[index]
    return record

  def record_name(self, index: int) -> str:
    """Returns for example 'cifar10/train[3]'."""
    return self._rows.row_name(index)


class HfImages(ImageRows):
  """The same, of a path or a name.

  Args:
    path: see `loading.load`, as the next ones.
    split: such as 'train'.
    subset: configuration of the dataset.
    revision: commit or tag on the hub.
    streaming: must be False.
    image: see `ImageRows`, as the next ones.
    label: column of the labels.
    classes: their names.

  Raises:
    ValueError: as `loading.load` and `ImageRows`.
  """

  def __init__(
    self,
    path: str,
    split: str | None = None,
    *,
    subset: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
    image: str | None = None,
    label: str | None = "label",
    classes: tuple[str, ...] | None = None,
  ):
    rows = load(path, split, subset, revision, streaming)
    super().__init__(rows, image=image, label=label, classes=classes)
