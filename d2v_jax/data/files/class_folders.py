"""Folders of files whose sub-folders may be their classes."""

import dataclasses
import logging
import os
from collections.abc import Sequence

from d2v_jax.data.class_names import check_alike
from d2v_jax.data.columns import Below, Made
from d2v_jax.data.files.unreadable import shown
from d2v_jax.data.files.walk import HIDDEN, Listing, walk


@dataclasses.dataclass(frozen=True)
class ClassFolders:
  """Files and their classes.

  Attributes:
    listing: the files.
    class_names: the classes; empty when unlabelled.
    labels: class number of each file; None when unlabelled.
  """

  listing: Listing
  class_names: tuple[str, ...]
  labels: list[int] | None

  @property
  def files(self) -> Sequence[str]:
    """Paths of the files."""
    return Made(Below(self.listing.root), self.listing.files)


def class_folders(
  path: str | os.PathLike[str],
  endings: tuple[str, ...],
  labels: bool | None,
  *,
  owner: str,
  what: str,
) -> ClassFolders:
  """Lists a folder, and says what is left out.

  Args:
    path: a mounted folder.
    endings: of the files, see `walk`.
    labels: True: the sorted names of the sub-folders that hold such files are
      the classes 0, 1, ... False: no labels, files are taken from any depth.
      None: labelled when there are such sub-folders and no file beside them.
    owner: who asks, for errors.
    what: 'images' or 'audio', for errors.

  Raises:
    ValueError: no such folder or files, or `labels=True` without class folders
      or with files beside them, or two classes that look the same.
  """
  listing = walk(path, endings, owner)
  if not listing.files:
    raise ValueError(
      f"{owner}: no {what} in {os.fspath(path)!r} or below it; files must end "
      f"in one of: {', '.join(endings)}. {listing.summary()}".strip()
    )
  listing.log(owner)
  loose = [file for file in listing.files if "/" not in file]
  if labels and loose:
    raise ValueError(
      f"{owner}: labels=True needs every file in a class folder, but "
      f"{len(loose)} lie directly in {os.fspath(path)!r}, for example "
      f"{loose[0]!r}; move them or set labels=False"
    )
  if labels is None and 0 < len(loose) < len(listing.files):
    logging.warning(
      "%s: unlabelled, as %d of %d files lie beside the folders of %s (%s); "
      "set labels to say what is meant",
      owner,
      len(loose),
      len(listing.files),
      shown(os.fspath(path)),
      shown(loose[0]),
    )
  if not (not loose if labels is None else labels):
    return ClassFolders(listing, (), None)
  classes = tuple(sorted({file.split("/")[0] for file in listing.files}))
  check_alike(classes, f"{owner}: {os.fspath(path)!r}", "rename one of them")
  _warn_of_lost(listing, classes, owner)
  number = {name: k for k, name in enumerate(classes)}
  numbers = [number[file.split("/")[0]] for file in listing.files]
  return ClassFolders(listing, classes, numbers)


def _warn_of_lost(
  listing: Listing, classes: tuple[str, ...], owner: str
) -> None:
  """Names folders that would be classes, were their files of other kinds."""
  others = {
    name.split("/")[0]
    for reason, names in listing.left_out.items()
    for name in names
    if reason != HIDDEN and "/" in name
  }
  if lost := sorted(others - set(classes)):
    logging.warning(
      "%s: no classes, as none of their files is read: %s",
      owner,
      ", ".join(map(shown, lost)),
    )
