"""Which files there are below a folder, and which of them are read."""

import array
import collections
import dataclasses
import logging
import os
import pathlib
import stat
from collections.abc import Mapping, Sequence

import numpy as np

from d2v_jax.data.columns import TextColumn
from d2v_jax.data.files import kept_listings
from d2v_jax.data.files.unreadable import shown

HIDDEN = "hidden"
SAME_FILE = "the same file as another"
SAME_FOLDER = "a link to a folder that is listed already"

# What systems put beside a user's files without being asked.
_OF_SYSTEMS = {
  "$RECYCLE.BIN",
  "@eaDir",
  "System Volume Information",
  "__MACOSX",
  "lost+found",
}
_SHOWN = 3  # names of each reason
_REASONS = 12  # that are told apart
_MANY = 10_000  # files, whose list is kept


@dataclasses.dataclass(frozen=True)
class Listing:
  """The files below a folder.

  Attributes:
    root: the folder.
    files: those with one of the endings, relative to it, with forward slashes,
      sorted. A link to nothing is among them, and so is a pipe: whoever reads
      them finds out.
    left_out: reason -> the others, sorted; a hidden folder stands for what is
      in it.
  """

  root: str
  files: TextColumn
  left_out: Mapping[str, tuple[str, ...]]

  def path(self, file: str) -> str:
    """Returns where a file lies."""
    return str(pathlib.Path(self.root) / file)

  def summary(self) -> str:
    """Says what is left out, and how much that is; '' where nothing is."""
    return summary(self.left_out, len(self.files))

  def log(self, owner: str) -> None:
    """Warns of what is left out.

    Args:
      owner: who reads the files.
    """
    if text := self.summary():
      logging.warning(
        "%s: of the files in %s %s", owner, shown(self.root), text
      )


def summary(left_out: Mapping[str, Sequence[str]], kept: int) -> str:
  """Says what is left out, with a few names of each reason.

  Args:
    left_out: reason -> names.
    kept: number of those that are not.

  Returns:
    '' where nothing is left out.
  """
  number = sum(map(len, left_out.values()))
  if not number:
    return ""
  ordered = sorted(left_out.items(), key=lambda item: (-len(item[1]), item[0]))
  parts = []
  for reason, names in ordered[:_REASONS]:
    some = ", ".join(map(shown, names[:_SHOWN]))
    more = ", ..." if len(names) > _SHOWN else ""
    parts.append(f"{len(names)} {reason} ({some}{more})")
  if rest := sum(len(names) for _, names in ordered[_REASONS:]):
    parts.append(f"{rest} for other reasons")
  total = kept + number
  return f"left out {number} of {total} ({number / total:.0%}): " + "; ".join(
    parts
  )


def walk(
  root: str | os.PathLike[str], endings: tuple[str, ...], owner: str
) -> Listing:
  """Lists the files below a folder, at any depth.

  Names that begin with a dot are hidden, and so are the folders that systems
  leave behind, such as lost+found. Each real file is listed once and each real
  folder walked once, by its own path if that is below the root, else by the
  first link to it; a link to a folder that holds the root is not followed.
  An empty folder with one of the endings counts as a file, which it replaces.
  The list of a folder with many files is kept, see `kept_listings`.

  Args:
    root: a mounted folder.
    endings: those of the files that are wanted, in lower case, with their dot;
      the case in names does not matter.
    owner: who asks, for errors.

  Raises:
    ValueError: `root` is no folder, or one below it cannot be listed.
  """
  if not os.path.isdir(root):
    raise ValueError(
      f"{owner}: {os.fspath(root)!r} is not a folder; check the path"
    )
  place = os.fspath(root)
  if kept := kept_listings.load(place, endings):
    return Listing(str(pathlib.Path(root)), *kept)
  walked = _Walk(root, endings, owner)
  listing = walked.listing()
  if len(listing.files) >= _MANY and not walked.has_links:
    kept_listings.keep(
      place, endings, listing.files, listing.left_out, walked.stamps
    )
  return listing


def other_ending(name: str) -> str:
  """Returns the reason to leave out a file whose ending is not wanted."""
  suffixes = pathlib.PurePath(name).suffixes
  if not suffixes:
    return "without an ending"
  ending = "".join(suffixes[-2:] if suffixes[-1] == ".gz" else suffixes[-1:])
  return f"with the ending {shown(ending.lower())}"


class _Walk:
  """One pass: what is really there first, then what links lead to.

  Attributes:
    has_links: whether links were met.
    stamps: folder -> its `kept_listings.stamp` from before it was listed.
  """

  def __init__(
    self, root: str | os.PathLike[str], endings: tuple[str, ...], owner: str
  ):
    self._root = pathlib.Path(root)
    self._real = os.path.realpath(root)
    self._endings = endings
    self._owner = owner
    self.has_links = False
    self.stamps: dict[str, tuple[int, ...]] = {}
    self._found: list[str] = []
    # Device and number of each of them, one after the other; 0 where unknown.
    self._identities = array.array("Q")
    self._left_out: dict[str, list[str]] = collections.defaultdict(list)
    self._links: collections.deque[str] = collections.deque()
    # Device and number of those met.
    self._folders: set[tuple[int, int]] = set()

  def listing(self) -> Listing:
    """Walks, and returns what there is."""
    self._folder("")
    while self._links:
      self._link(self._links.popleft())
    if same := self._repeated():
      self._left_out[SAME_FILE] += [self._found[k] for k in same]
      others = enumerate(self._found)
      self._found = [name for k, name in others if k not in same]
    left_out = {k: tuple(sorted(v)) for k, v in self._left_out.items()}
    # Each name is let go of when it is taken over.
    self._found.sort(reverse=True)
    files = TextColumn(self._found.pop() for _ in range(len(self._found)))
    return Listing(str(self._root), files, left_out)

  def _folder(self, name: str) -> None:
    """Takes the files of a real folder and of those below it."""
    waiting, links = [name], []
    while waiting:
      inside = waiting.pop()
      path = self._root / inside
      status = os.stat(path)
      self.stamps[inside] = kept_listings.stamp(status)
      device, number = _identity(status)
      if (device, number) in self._folders:
        self._left_out[SAME_FOLDER].append(inside)
        continue
      self._folders.add((device, number))
      try:
        with os.scandir(path) as entries:
          here = sorted(entries, key=lambda entry: entry.name)
      except OSError as error:
        raise self._cannot_list(path, error) from error
      if inside and not here and self._is_wanted(inside):
        # In the place of a file, which whoever reads it will say.
        self._file(inside, (device, number))
      for entry in here:
        below = f"{inside}/{entry.name}" if inside else entry.name
        if entry.name.startswith(".") or entry.name in _OF_SYSTEMS:
          self._left_out[HIDDEN].append(below)
        elif entry.is_symlink():
          self.has_links = True
          links.append(below)
        elif entry.is_dir(follow_symlinks=False):
          waiting.append(below)
        else:
          # The number comes with the list; only a second one is looked at.
          self._file(below, (device, entry.inode()))
    self._links += sorted(links)

  def _link(self, name: str) -> None:
    path = self._root / name
    try:
      status = os.stat(path)
    except OSError as error:  # to nothing, or to what may not be seen
      if isinstance(error, PermissionError) and not path.suffix:
        raise self._cannot_list(path, error) from error
      self._file(name, None)
      return
    if not stat.S_ISDIR(status.st_mode):
      self._file(name, _identity(status))
    elif self._holds_root(path) or _identity(status) in self._folders:
      self._left_out[SAME_FOLDER].append(name)
    else:
      self._folder(name)

  def _holds_root(self, path: pathlib.Path) -> bool:
    return pathlib.Path(self._real).is_relative_to(os.path.realpath(path))

  def _cannot_list(self, path: pathlib.Path, error: OSError) -> ValueError:
    return ValueError(
      f"{self._owner}: cannot list the folder {shown(str(path))}: "
      f"{error.strerror}; let this user read it, or move it away"
    )

  def _is_wanted(self, name: str) -> bool:
    return name.lower().endswith(self._endings)

  def _file(self, name: str, identity: tuple[int, int] | None) -> None:
    if not self._is_wanted(name):
      self._left_out[other_ending(name)].append(name)
      return
    self._found.append(name)
    self._identities.extend(identity or (0, 0))

  def _repeated(self) -> set[int]:
    """Places of files that are the same as one met before."""
    identities = np.asarray(self._identities).reshape(-1, 2)
    numbers = np.sort(identities[:, 1])
    twice = numbers[1:][numbers[1:] == numbers[:-1]]
    if not len(twice):
      return set()
    first: dict[tuple[int, ...], str] = {}
    same = set()
    for k in np.flatnonzero(np.isin(identities[:, 1], twice)).tolist():
      name = self._found[k]
      one = first.setdefault(tuple(identities[k].tolist()), name)
      if one != name and self._is_same(one, name):
        same.add(k)
    return same

  def _is_same(self, one: str, other: str) -> bool:
    try:
      return os.path.samefile(self._root / one, self._root / other)
    except OSError:  # gone since
      return False


def _identity(status: os.stat_result) -> tuple[int, int]:
  return status.st_dev, status.st_ino
