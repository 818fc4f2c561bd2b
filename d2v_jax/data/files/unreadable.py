"""Records that cannot be used, and files that hold none."""

import errno
import os
import pathlib
import stat


class Unreadable(ValueError):
  """A record cannot be used; the text is the reason, for a person."""


_KINDS = {
  stat.S_IFIFO: "a pipe",
  stat.S_IFSOCK: "a socket",
  stat.S_IFCHR: "a device",
  stat.S_IFBLK: "a device",
  stat.S_IFDIR: "a folder",
}
_ERRORS = {
  errno.EACCES: "it is forbidden to this user",
  errno.EPERM: "it is forbidden to this user",
  errno.ELOOP: "a link that leads to itself",
}


def read_bytes(path: str | os.PathLike[str]) -> bytes:
  """Returns the content of a file; nothing else is ever opened.

  Args:
    path: of a file, or of a link to one.

  Raises:
    Unreadable: it is gone, forbidden, or no file.
  """
  check_file(path)
  try:
    return pathlib.Path(path).read_bytes()
  except OSError as error:
    raise Unreadable(_reason(path, error)) from error


def check_file(path: str | os.PathLike[str]) -> None:
  """Raises Unreadable unless a path leads to a file.

  Args:
    path: to look at, which does not open it: a pipe would wait for a writer.
  """
  try:
    mode = os.stat(path).st_mode
  except OSError as error:
    raise Unreadable(_reason(path, error)) from error
  if not stat.S_ISREG(mode):
    kind = _KINDS.get(stat.S_IFMT(mode), "something else")
    raise Unreadable(f"{kind}, no file")


def check_opens(path: str | os.PathLike[str]) -> None:
  """Raises Unreadable unless a path leads to a file that can be opened."""
  check_file(path)
  try:
    with open(path, "rb"):
      pass
  except OSError as error:
    raise Unreadable(_reason(path, error)) from error


def check_not_special(path: str | os.PathLike[str]) -> None:
  """Raises Unreadable if a path leads to a pipe, a device or a folder.

  Args:
    path: that may also be one in a bucket, of which nothing is said.
  """
  if os.path.exists(path):
    check_file(path)


def shown(name: str) -> str:
  """Returns a name as one line that any encoding can write.

  What cannot be printed, line breaks and bytes that are not UTF-8 among it, is
  escaped as in Python.

  Args:
    name: such as a path.
  """
  return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def _reason(path: str | os.PathLike[str], error: OSError) -> str:
  if isinstance(error, FileNotFoundError):
    return "a link to nothing" if os.path.islink(path) else "it is gone"
  return _ERRORS.get(error.errno or 0, error.strerror or str(error))
