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
