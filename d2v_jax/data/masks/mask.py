"""The contract of masks, and what masks of several versions share."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from d2v_jax.data.ranges import check_range

MOST_MASKS = 1024  # of one example


class Mask(Protocol):
  """Chooses the tokens of an example that are hidden from the student."""

  @property
  def num_masks(self) -> int | None:
    """Masks M of each example; None for one, which has no axis M."""
    ...

  def check(self, shape: tuple[int, ...], shortest: int | None = None) -> None:
    """Raises ValueError where an example could not be masked.

    Args:
      shape: tokens along each axis: patches (H, W), frames or tokens (N,),
        padding included.
      shortest: fewest tokens of an example that are not padding; None where
        there is no padding.
    """
    ...

  def __call__(
    self, rng: np.random.Generator, example: Mapping[str, Any]
  ) -> dict[str, np.ndarray]:
    """Draws what is hidden of one example.

    Args:
      rng: the only source of randomness.
      example: of images `grid`, the patches (H, W); of speech and text
        `padding` bool [N], True = padding, which stands last; of text also
        `inputs` int [N], the ids, and `vocab_size`.

    Returns:
      Arrays to merge into the example:
      `mask` bool [N], True = hidden and predicted, or of M masks [M, N]; N is
        H * W in row-major order; never True in the padding.
      `keep_ids` int32 [M, V], only with M masks: the V tokens that are encoded.
      `student_inputs` [N], only where the student may read something else than
        `inputs` with <mask> at `mask`.
      `selected` bool [N], only where tokens outside `mask` are predicted, too.
      `inputs` [N], only where the teacher must not see all of them.
    """
    ...


def keep_ids(mask: np.ndarray, num_visible: int) -> np.ndarray:
  """Returns which tokens are encoded: the first V that are not hidden.

  Args:
    mask: bool [M, N], True = hidden; at least V of each row are not.
    num_visible: V. Padding stands last, so it fills up the rows that have
      fewer visible tokens.

  Returns:
    int32 [M, V], ascending.
  """
  order = np.argsort(mask, axis=1, kind="stable")  # [M, N], visible ones first
  return order[:, :num_visible].astype(np.int32)


def unpadded(padding: np.ndarray) -> int:
  """Returns how many tokens of `padding` bool [N] are not padding."""
  return len(padding) - int(padding.sum())


def check_versions(name: str, num_masks: int, ratio: float) -> None:
  """Raises ValueError unless there are masks, and their share is one."""
  check_range(name, "num_masks", num_masks, 1, MOST_MASKS)
  if not 0 < ratio < 1:
    raise ValueError(
      f"{name}: ratio must be between 0 and 1 (both excluded), got {ratio}"
    )


def check_visible(
  name: str, visible: int, size: int, tokens: str, ratio: float
) -> None:
  """Raises ValueError unless some tokens are hidden and some are not."""
  if not 0 < visible < size:
    raise ValueError(
      f"{name}: with ratio={ratio}, {visible} of {size} {tokens} stay visible; "
      f"allowed are 1 to {size - 1}: change the ratio, or give longer inputs"
    )


def check_not_empty(name: str, size: int, tokens: str) -> None:
  """Raises ValueError where an example has nothing but padding."""
  if size < 1:
    raise ValueError(
      f"{name}: an example has no {tokens} that are not padding; leave out "
      "inputs that short"
    )
