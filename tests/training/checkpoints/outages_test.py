import errno
import os

import pytest

from d2v_jax.training.checkpoints import outages


@pytest.mark.parametrize(
  ("code", "passes"),
  [
    (errno.ENOSPC, True),
    (errno.EDQUOT, True),
    (errno.EIO, True),
    (errno.ESTALE, True),
    (errno.ETIMEDOUT, True),
    (errno.ENOENT, False),
    (errno.EACCES, False),
    (errno.EROFS, False),
    (errno.ENOTDIR, False),
  ],
)
def test_what_passes_and_what_stays(code, passes):
  assert outages.is_outage(OSError(code, os.strerror(code))) == passes


def test_an_error_without_a_number_is_no_outage():
  assert not outages.is_outage(OSError("cannot identify image file"))
  assert not outages.is_outage(OSError("Forbidden: b/bucket"))


def test_what_has_no_number_and_passes():
  assert outages.is_outage(TimeoutError())
  assert outages.is_outage(ConnectionResetError("by peer"))


def of(package, name, **attributes):
  """An error of a class of such a package, as gcsfs raises it."""
  made = type(name, (Exception,), {"__module__": package, **attributes})
  return made("no answer")


@pytest.mark.parametrize(
  ("error", "passes"),
  [
    (of("gcsfs.retry", "HttpError", code=503), True),
    (of("gcsfs.retry", "HttpError", code=429), True),
    (of("gcsfs.retry", "HttpError", code=401), False),
    (of("gcsfs.retry", "ChecksumError"), True),
    (of("aiohttp.client_exceptions", "ServerDisconnectedError"), True),
    (of("aiohttp.client_exceptions", "ClientResponseError", status=400), False),
    (of("google.auth.exceptions", "TransportError"), True),
    (of("google.auth.exceptions", "DefaultCredentialsError"), False),
  ],
)
def test_errors_of_storage_on_a_network(error, passes):
  assert outages.is_of_storage(error)
  assert outages.is_outage(error) == passes


def test_other_errors_are_none_of_storage():
  for error in (RuntimeError("x"), of("jax.errors", "JaxRuntimeError")):
    assert not outages.is_of_storage(error) and not outages.is_outage(error)
