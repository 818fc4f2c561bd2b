"""Where the reference's numbers lie.

Small cases are in this folder. The environment variable D2V_GOLDENS adds
folders of further ones, separated by ':'; a file there comes before one of the
same name here.
"""

import copy
import functools
import json
import os
import pathlib
from typing import Any

import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent

Arrays = dict[str, np.ndarray]


def find() -> list[pathlib.Path]:
  """All files of cases, by name."""
  further = os.environ.get("D2V_GOLDENS", "").split(":")
  folders = [HERE, *(pathlib.Path(f) for f in reversed(further) if f)]
  files = {file.name: file for f in folders for file in sorted(f.glob("*.npz"))}
  return [files[name] for name in sorted(files)]


@functools.cache
def load(path: pathlib.Path) -> tuple[dict[str, Any], Arrays]:
  """What a file says of its case, and the arrays."""
  with np.load(path) as z:
    arrays = {name: z[name] for name in z.files if name != "meta"}
    return json.loads(str(z["meta"])), arrays


def case(name: str) -> tuple[dict[str, Any], Arrays]:
  """The case of that name; without it the test is skipped."""
  for path in find():
    if path.stem == name:
      meta, arrays = load(path)
      return copy.deepcopy(meta), dict(arrays)
  pytest.skip(f"{name}.npz is neither here nor in a folder of D2V_GOLDENS")


def group(arrays: Arrays, prefix: str) -> Arrays:
  """The arrays whose names begin with a prefix, without it."""
  return {
    name.removeprefix(prefix): value
    for name, value in arrays.items()
    if name.startswith(prefix)
  }


def fingerprint(tree: Arrays) -> np.ndarray:
  """Sum, L2 norm and dot(x, sin(1, 2, ...)) of each array, by its name.

  Returns:
    [arrays, 3] float64.
  """
  rows = []
  for name in sorted(tree):
    x = tree[name].astype(np.float64).reshape(-1)
    n = np.arange(1, x.size + 1)
    rows.append([x.sum(), np.sqrt((x**2).sum()), (x * np.sin(n)).sum()])
  return np.array(rows)
