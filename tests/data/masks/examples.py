"""What masks are given, as the transforms of each modality make it."""

import numpy as np


def padded(size, total=None):
  """An example of `total` frames or tokens, of which the first are no padding.

  Args:
    size: frames or tokens that are not padding.
    total: N; None for no padding.
  """
  return {"padding": np.arange(size if total is None else total) >= size}


def text(tokens, vocab_size, size=None):
  """An example of tokens [N], of which the first `size` are no padding."""
  total = len(tokens)
  size = total if size is None else size
  return {
    **padded(size, total),
    "inputs": np.asarray(tokens, np.int32),
    "vocab_size": vocab_size,
  }
