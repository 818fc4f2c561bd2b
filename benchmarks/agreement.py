"""Whether two training steps compute the same, before they are timed."""

from typing import Any

import jax
import numpy as np

from benchmarks.jax_step import Step

_STEPS = 2


def with_peer(
  ours: Step, peer: Any, batch: tuple, dtype: str
) -> dict[str, Any]:
  """Runs the first updates of ours and of PyTorch's from the same weights.

  Args:
    ours: starts anew.
    peer: torch_step.Step that has made no update yet.
    batch: arguments of its call.
    dtype: of matrix products.

  Returns:
    Losses and gradient norms of both, and how far the changes of the student
    and of the teacher are apart, relative to the changes.

  Raises:
    ValueError: if they do not compute the same.
  """
  start = peer.tree(peer.student)
  ours.load(start)
  found = _values(ours=ours, peer=lambda: peer(*batch))
  apart = _apart(found)
  for name, mine, other in (
    ("student", ours.state.params, peer.student),
    ("teacher", ours.state.teacher_params, peer.teacher),
  ):
    before = {key: start[key] for key in mine}
    found[f"{name}_change"] = _difference(before, mine, peer.tree(other))
  apart["change"] = max(found["student_change"], found["teacher_change"])
  _check(apart, dtype, found)
  return found


def of_two(ours: Step, other: Step, dtype: str) -> dict[str, Any]:
  """Runs the first updates of two of our steps that have made none yet.

  Args:
    ours: one of them.
    other: does the same update in another way.
    dtype: of matrix products.

  Returns:
    Losses and gradient norms of both.

  Raises:
    ValueError: if they do not compute the same.
  """
  found = _values(ours=ours, other=other)
  _check(_apart(found), dtype, found)
  return found


def _values(**steps):
  """Losses and gradient norms of a few updates of each step."""
  return {
    name: [tuple(map(float, step())) for _ in range(_STEPS)]
    for name, step in steps.items()
  }


def _apart(found):
  """Largest differences of losses and gradient norms, relative."""
  mine, other = map(np.array, found.values())
  apart = np.abs(mine - other).max(0) / np.abs(other).min(0)
  return {"loss": apart[0], "gradient norm": apart[1]}


def _difference(start, mine, other):
  sums = np.zeros(2)
  for a, b, c in zip(*map(jax.tree.leaves, (start, mine, other)), strict=True):
    sums += np.square(np.asarray(b) - c).sum(), np.square(c - a).sum()
  return float(np.sqrt(sums[0] / sums[1]))


def _check(apart, dtype, found):
  # Bfloat16 keeps 8 bits, and Adam's first updates are signs of gradients.
  loose = dtype != "float32"
  limits = {
    "loss": 1e-2 if loose else 1e-4,
    "gradient norm": 1e-1 if loose else 1e-3,
    "change": 0.5 if loose else 0.02,
  }
  for name, value in apart.items():
    if not value <= limits[name]:
      raise ValueError(
        f"the two do not compute the same: {name} differs by {value:.2g}, "
        f"allowed is {limits[name]:.2g}; {found}."
      )
