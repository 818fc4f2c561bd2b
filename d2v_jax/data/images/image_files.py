"""Image files: given by name, below a folder, or listed in a table."""

from collections.abc import Sequence

from d2v_jax.data.files.class_folders import class_folders
from d2v_jax.data.files.unreadable import read_bytes
from d2v_jax.data.label_values import LabelValues
from d2v_jax.data.source import Record
from d2v_jax.data.tables import Choice, Table

EXTENSIONS = (
  ".bmp",
  ".gif",
  ".jfif",
  ".jpe",
  ".jpeg",
  ".jpg",
  ".png",
  ".tif",
  ".tiff",
  ".webp",
)


class ImageFiles:
  """Image files given by name, read when asked for.

  Args:
    files: paths.
    labels: class numbers, or sets of them, or None.
    class_names: the classes; empty when unlabelled.

  Attributes:
    labels: as given.
    class_names: as given.
  """

  def __init__(
    self,
    files: Sequence[str],
    labels: LabelValues | None = None,
    class_names: tuple[str, ...] = (),
  ):
    self._files = files
    self.labels = labels
    self.class_names = class_names

  def __len__(self) -> int:
    return len(self._files)

  def __getitem__(self, index: int) -> Record:
    record: Record = {"image": read_bytes(self._files[index])}
    if self.labels is not None:
      record["label"] = self.labels[index]
    return record

  def record_name(self, index: int) -> str:
    """Returns the path of the file."""
    return self._files[index]


class ImageFolder(ImageFiles):
  """Image files under a folder, in sorted order, read when asked for.

  Args:
    path: a mounted folder, listed as `walk` does.
    labels: True: the sorted names of the sub-folders that hold images are the
      classes 0, 1, ... False: no labels, files are taken from any depth.
      None: labelled when there are such sub-folders and no image beside them.

  Attributes:
    listing: what is read, and what is left out.

  Raises:
    ValueError: no such folder, no images in it, or `labels=True` without
      class folders or with images beside them.
  """

  def __init__(self, path: str, labels: bool | None = None):
    found = class_folders(
      path, EXTENSIONS, labels, owner="ImageFolder", what="images"
    )
    super().__init__(found.files, found.labels, found.class_names)
    self.listing = found.listing


class ImageTable(ImageFiles):
  """Image files listed in a table, in its column `path`.

  Args:
    path: the table, see `tables.Table`.
    root: folder that relative paths start from; None for the table's.
    split: short for `only={"split": split}`.
    only: column -> the value, or tuple of values, that a row must have.
    exclude: column -> the value, or tuple of values, that it must not have.
    label: column of the classes; None for unlabelled.
    classes: the classes in the order of their numbers; None for the sorted
      distinct labels of the whole table.
    label_separator: what parts several classes of a row, see `tables.Table`.
    quotes: see `tables.Table`.

  Raises:
    ValueError: what `Table` raises; no column `path`; the first files are not
      there.
  """

  def __init__(
    self,
    path: str,
    root: str | None = None,
    *,
    split: str | None = None,
    only: Choice | None = None,
    exclude: Choice | None = None,
    label: str | None = None,
    classes: tuple[str, ...] | None = None,
    label_separator: str | None = None,
    quotes: bool = True,
  ):
    table = Table(
      path,
      split=split,
      only=only,
      exclude=exclude,
      label=label,
      classes=classes,
      label_separator=label_separator,
      quotes=quotes,
    )
    files = table.files(root, "ImageTable")
    super().__init__(files, table.labels, table.class_names)
