"""Where an example's vector is read off: a layer, pooled in one way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from d2v_jax.evaluators.features import ALL, Features, SplitFeatures


class Reading(NamedTuple):
  """One way to read features.

  Attributes:
    pool: name of the pooling.
    layer: from 0; the depth L is the final output. None: not chosen, but as
      `Features.layers` says.
  """

  pool: str
  layer: int | None


def readings(
  features: SplitFeatures, asked: Features
) -> dict[Reading, SplitFeatures]:
  """Takes apart what was extracted together.

  Args:
    features: Splits `train` and `test`, [n, E] or, of all layers,
      [n, L + 1, E]; of several poolings `train/mean` and so on.
    asked: For what they are the answer.

  Returns:
    Each reading, poolings in their order and in each the layers in theirs, and
    its splits, [n, E], without copies.

  Raises:
    ValueError: If features of all layers were asked for and these are not.
  """
  found: dict[Reading, SplitFeatures] = {}
  for pool in asked.pools:
    ending = "" if isinstance(asked.pool, str) else f"/{pool}"
    splits = {split: features[split + ending] for split in ("train", "test")}
    if asked.layers != ALL:
      found[Reading(pool, None)] = splits
      continue
    shape = splits["train"][0].shape
    if len(shape) != 3:
      raise ValueError(
        f"Features: layers is 'all', and those given have the shape {shape}; "
        "[n, L + 1, E] is needed, which Features(layers='all') gives"
      )
    for layer in range(shape[1]):
      found[Reading(pool, layer)] = {
        split: (x[:, layer], y) for split, (x, y) in splits.items()
      }
  return found


def told(
  best: Reading, accuracies: Mapping[Reading, float], asked: Features
) -> dict[str, float]:
  """What is told of a choice among readings.

  Args:
    best: the one that was chosen.
    accuracies: of each reading, on held-out training examples.
    asked: for what they are the answer.

  Returns:
    `best_layer`, where layers were a choice; `best_pool`, the number of the
    pooling in `asked.pool`, where poolings were, and of each of these its
    accuracy in its best layer, `validation_accuracy_<pool>`.
  """
  found: dict[str, float] = {}
  if best.layer is not None:
    found["best_layer"] = float(best.layer)
  if not isinstance(asked.pool, str):
    found["best_pool"] = float(asked.pool.index(best.pool))
    for pool in asked.pool:
      found[f"validation_accuracy_{pool}"] = max(
        float(accuracy)
        for reading, accuracy in accuracies.items()
        if reading.pool == pool
      )
  return found
