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

# Packages by which storage on a network is asked; their errors are of classes
# of their own.
_CLIENTS = {"aiohttp", "gcsfs", "google", "requests", "urllib3"}
_PASS = {408, 429}  # of HTTP's statuses below 500
_NO_ACCOUNT = "DefaultCredentialsError"


def is_of_storage(error: BaseException) -> bool:
  """Whether an error is of a disk, or of storage on a network."""
  return isinstance(error, OSError) or _is_of_a_client(error)


def is_outage(error: BaseException) -> bool:
  """Whether an error is of a disk or of the network: full, broken, gone."""
  if isinstance(error, ConnectionError | TimeoutError):
    return True
  if isinstance(error, OSError) and error.errno is not None:
    return error.errno not in _STAY
  if not _is_of_a_client(error) or type(error).__name__ == _NO_ACCOUNT:
    return False
  code = getattr(error, "code", None) or getattr(error, "status", None)
  return not isinstance(code, int) or code >= 500 or code in _PASS


def _is_of_a_client(error: BaseException) -> bool:
  return type(error).__module__.partition(".")[0] in _CLIENTS
