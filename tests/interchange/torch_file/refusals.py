"""What is written to be refused."""

import numpy as np
import pytest

from d2v_jax.interchange.torch_file.reader import load
from d2v_jax.interchange.weights import InterchangeError
from tests.interchange.torch_file.torch_files import (
  Tensor,
  save,
)


def refused(path, obj, match, legacy=False):
  save(path, {"model": obj}, legacy=legacy)
  with pytest.raises(InterchangeError, match=match) as caught:
    load(path)
  assert str(caught.value).startswith(f"{path}: ")


def refused_bytes(path, content, match):
  path.write_bytes(content)
  with pytest.raises(InterchangeError, match=match):
    load(path)


def tensor(**changes):
  known = {
    "content": np.arange(6, dtype="f4").tobytes(),
    "storage": "FloatStorage",
    "numel": 6,
    "offset": 0,
    "size": (2, 3),
    "stride": (3, 1),
  }
  return Tensor(**known | changes)
