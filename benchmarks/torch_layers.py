"""What the PyTorch networks of all modalities are made of."""

import collections
from typing import Any

import torch

from d2v_jax.config import Spec


def check(where: str, spec: Spec, **known: Any) -> None:
  """Checks that a part of the config has the values the peer is written for.

  Args:
    where: section of the config, for the error.
    spec: that section.
    **known: field -> the only value that is written here.

  Raises:
    ValueError: names the field and both values.
  """
  for key, value in known.items():
    if spec[key] != value:
      raise ValueError(
        f"config.{where}.{key} is {spec[key]!r}, but the PyTorch peer is "
        f"written for {value!r} only; run with --alone."
      )


def head(width: int, layers: int) -> torch.nn.Sequential:
  """Linear D -> D, or D -> 2D -> ... -> D with GELU between."""
  widths = [width, *(2 * width,) * (layers - 1), width]
  parts: dict[str, torch.nn.Module] = {}
  for i in range(1, layers + 1):
    if i > 1:
      parts[f"gelu{i}"] = torch.nn.GELU()
    parts[f"fc{i}"] = torch.nn.Linear(widths[i - 1], widths[i])
  return torch.nn.Sequential(collections.OrderedDict(parts))
