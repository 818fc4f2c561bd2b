"""Which errors of storage pass, and which stay until somebody changes them."""

import errno

# What a path, or the right to it, is wrong for.
_STAY = {
  errno.EACCES,
  errno.EEXIST,
  errno.EINVAL,
  errno.EISDIR,
  errno.ELOOP,
  errno.ENAMETOOLONG,
  errno.ENOENT,
  errno.ENOTDIR,
  errno.ENOTEMPTY,
  errno.EPERM,
  errno.EROFS,
}


def is_outage(error: OSError) -> bool:
  """Whether an error is of a disk or of the network: full, broken, gone."""
  return error.errno is not None and error.errno not in _STAY
