"""Features and predictions of whole splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from d2v_jax.evaluators import position_share
from d2v_jax.evaluators.features import (
  Asked,
  Features,
  Predictions,
  TokenSums,
  pool_features,
)
from d2v_jax.evaluators.pooling import Grid

if TYPE_CHECKING:
  from d2v_jax.models.encoder import EncoderOutput

HostBatch = Mapping[str, np.ndarray]
DeviceBatch = Mapping[str, jax.Array]
Split = tuple[np.ndarray, np.ndarray | None]

# Rows of which is noted at a time whether they are finite.
_CHECKED = 2**14


class FeatureExtractor:
  """Turns splits into arrays of features, all through one jitted function.

  A probe that is fitted on other features than it is scored on measures
  nothing, so there is no second path for the test split.

  Attributes:
    batches: `batches(split)` iterates once over a split's batches.
    labels: of each split, as they were last extracted; None where it has none.
  """

  def __init__(
    self,
    encode: Callable[..., EncoderOutput],
    batches: Callable[[str], Iterable[HostBatch]],
    to_device: Callable[[HostBatch], DeviceBatch],
    splits: tuple[str, ...] = ("train", "test"),
    predict: Callable[..., jax.Array] | None = None,
    scores: Callable[..., jax.Array] | None = None,
    grid: Grid = (),
  ) -> None:
    """Binds an objective's encoder to the data.

    Args:
      encode: `encode(params, batch) -> EncoderOutput`, an objective's.
      batches: `batches(split)` iterates once over a split's batches; the same
        number on every host. Keys as in training, with `label` if there are
        labels and `valid` [B] False for rows that only fill a batch.
      to_device: Puts a host's part of a batch on devices, as global arrays.
      splits: Of which splits features are extracted.
      predict: `predict(params, batch) -> [B]` or `[B, N]`, an objective's;
        None if it has nothing to predict.
      scores: `scores(params, batch) -> [B, C]` or `[B, N, V]`, an objective's;
        None if it has none.
      grid: (H, W) of the patches of images; () for tokens in time.
    """
    self.batches = batches
    self.labels: dict[str, np.ndarray | None] = {}
    self._to_device = to_device
    self._encode = encode
    self._splits = splits

    def embed(
      params: dict[str, Any],
      teacher_params: dict[str, Any],
      batch: DeviceBatch,
      features: Features,
    ) -> list[jax.Array]:
      if features.model == "teacher":
        params = {**params, **teacher_params}
      output = encode(params, batch)
      return [
        pool_features(output, dataclasses.replace(features, pool=pool), grid)
        for pool in features.pools
      ]

    def sums(
      params: dict[str, Any], batch: DeviceBatch, origin: jax.Array
    ) -> position_share.Sums:
      output = encode(params, batch)
      return position_share.sums(output, batch.get("valid"), origin)

    self._sums = jax.jit(sums)
    self._embed = jax.jit(embed, static_argnames="features")
    self._predict = None if predict is None else jax.jit(predict)
    self._scores = None if scores is None else jax.jit(scores)

  def like(
    self,
    encode: Callable[..., EncoderOutput] | None = None,
    grid: Grid = (),
    predict: Callable[..., jax.Array] | None = None,
  ) -> FeatureExtractor:
    """Another extractor, of the same data.

    Args:
      encode: as for the constructor; None where features are not asked for.
      grid: as for the constructor.
      predict: as for the constructor.
    """
    return FeatureExtractor(
      encode or _nothing,
      self.batches,
      self._to_device,
      self._splits,
      predict,
      grid=grid,
    )

  def __call__(
    self,
    params: Mapping[str, Any],
    teacher_params: Mapping[str, Any],
    features: Asked,
  ) -> dict[str, Split]:
    """Extracts every split once; the same arrays on every host.

    Args:
      params: The student's parameters.
      teacher_params: The sub-trees that the teacher has of its own.
      features: Which features to extract; or the student's predictions, or
        sums of tokens.

    Returns:
      Of each split the features [n, E] float32 and the labels [n], aligned,
      without fill rows; of several poolings each has an entry of its own, as
      `SplitFeatures` says. Labels are None where the batches have none. With
      several hosts the order of rows is not that of the data set.
      Sums of tokens come as three entries, `examples` [N], `sums` [O, N, D] and
      `squares` [O, N], float64, of `position_share.Sums` over the whole split.
      Predictions come in place of features and of their split alone. Where
      batches have different widths, predictions [n, N] are padded with 0,
      scores [n, N, V] with frames that are certainly blank, and labels [n, U]
      with -1.

    Raises:
      ValueError: If a split is empty, features are not finite, or there is
        nothing that predicts.
    """
    if isinstance(features, Predictions):
      return self._predictions(params, features)
    if isinstance(features, TokenSums):
      own = teacher_params if features.model == "teacher" else {}
      return self._token_sums({**params, **own}, features)

    def embed(batch: DeviceBatch) -> list[jax.Array]:
      return self._embed(params, teacher_params, batch, features)

    what = f"{features.model} features"
    found: dict[str, Split] = {}
    for split in self._splits:
      names = [split]
      if not isinstance(features.pool, str):
        names = [f"{split}/{pool}" for pool in features.pool]
      xs, y = self._extract(embed, split, what)
      self.labels[split] = y
      found |= {name: (x, y) for name, x in zip(names, xs, strict=True)}
    return found

  def _predictions(
    self, params: Mapping[str, Any], asked: Predictions
  ) -> dict[str, Split]:
    predict = self._scores if asked.scores else self._predict
    if predict is None:
      what = "scores" if asked.scores else "predictions"
      raise ValueError(
        f"FeatureExtractor: an evaluator asks for {what}, and the objective "
        "makes none; remove it from config.evaluation.evaluators, or choose a "
        "supervised objective (classification, ctc, regression)"
      )

    def compute(batch: DeviceBatch) -> list[jax.Array]:
      return [predict(params, batch)]

    (x,), y = self._extract(compute, asked.split, "predictions")
    return {asked.split: (x, y)}

  def _token_sums(
    self, params: Mapping[str, Any], asked: TokenSums
  ) -> dict[str, Split]:
    def computed(batch: DeviceBatch, origin: np.ndarray) -> list[np.ndarray]:
      sums = multihost_utils.process_allgather(
        self._sums(params, batch, origin), tiled=True
      )
      return [np.asarray(x, np.float64) for x in sums]

    origin: np.ndarray | None = None
    found: list[np.ndarray] = []
    for host_batch in self.batches(asked.split):
      batch = self._to_device(host_batch)
      if origin is None:
        output = jax.eval_shape(self._encode, params, batch)
        shape = jax.eval_shape(position_share.outputs, output).shape
        zero = np.zeros((shape[0], shape[-1]), np.float32)
        count, sums, _ = computed(batch, zero)
        mean = sums.sum(1) / max(count.sum(), 1)
        origin = mean.astype(np.float32)
      more = computed(batch, origin)
      found = _added(found, more) if found else more
    _check_some(len(found), asked.split)
    if not all(map(_finite, found)):
      raise ValueError(_diverged(f"{asked.model} features", asked.split))
    names = position_share.Sums._fields
    return {k: (x, None) for k, x in zip(names, found, strict=True)}

  def _extract(
    self,
    compute: Callable[[DeviceBatch], list[jax.Array]],
    split: str,
    what: str,
  ) -> tuple[list[np.ndarray], np.ndarray | None]:
    """All that is computed of a split, and its labels."""
    parts: list[list[np.ndarray]] = []  # of each batch
    ys = []
    for host_batch in self.batches(split):
      batch = self._to_device(host_batch)
      rows: dict[str, Any] = {
        k: batch[k] for k in ("label", "valid") if k in batch
      }
      rows["x"] = compute(batch)
      # On several hosts no host holds all rows; on one this only fetches.
      rows = multihost_utils.process_allgather(rows, tiled=True)
      valid = rows.get("valid", slice(None))
      parts.append([x[valid] for x in rows["x"]])
      if "label" in rows:
        ys.append(rows["label"][valid])
    _check_some(sum(len(part[0]) for part in parts), split)
    columns = [list(column) for column in zip(*parts, strict=True)]
    parts.clear()
    xs = [
      _concatenate(x, _certain_blank(x[0]) if x[0].ndim == 3 else 0)
      for x in columns
    ]
    if not all(map(_finite, xs)):
      raise ValueError(_diverged(what, split))
    return xs, _concatenate(ys, -1) if ys else None


def _check_some(count: int, split: str) -> None:
  if not count:
    raise ValueError(
      f"FeatureExtractor: split {split!r} gave no examples; name a split that "
      "has some"
    )


def _diverged(what: str, split: str) -> str:
  return (
    f"FeatureExtractor: the {what} of split {split!r} are not finite: the "
    "model has diverged, so evaluate an earlier checkpoint"
  )


def _added(a: list[np.ndarray], b: list[np.ndarray]) -> list[np.ndarray]:
  """Sums of positions, of which one batch may have more than the other."""
  positions = max(len(a[0]), len(b[0]))

  def filled(x: np.ndarray, axis: int) -> np.ndarray:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, positions - x.shape[axis])
    return np.pad(x, widths)

  axes = (0, 1, 1)
  return [
    filled(x, axis) + filled(y, axis)
    for x, y, axis in zip(a, b, axes, strict=True)
  ]


def _nothing(*_: Any) -> EncoderOutput:
  raise ValueError("FeatureExtractor: this one makes no features")


def _finite(x: np.ndarray) -> bool:
  parts = (x[i : i + _CHECKED] for i in range(0, len(x), _CHECKED))
  return all(np.isfinite(part).all() for part in parts)


def _certain_blank(scores: np.ndarray) -> np.ndarray:
  """Log-probabilities [V] of a frame at which CTC says nothing."""
  return np.where(np.arange(scores.shape[-1]), -1e9, 0).astype(scores.dtype)


def _concatenate(
  arrays: list[np.ndarray], fill: int | np.ndarray
) -> np.ndarray:
  """Rows of [n] or [n, m, ...] arrays, filled at their ends to the widest.

  The list is empty afterwards: features of a large data set need their memory
  once only.
  """
  if arrays[0].ndim == 1:
    return np.concatenate(arrays)
  widest = max(a.shape[1] for a in arrays)
  shape = (sum(map(len, arrays)), widest, *arrays[0].shape[2:])
  filled = np.empty(shape, arrays[0].dtype)
  end = len(filled)
  while arrays:
    a = arrays.pop()
    rows = filled[end - len(a) : end]
    rows[:, : a.shape[1]] = a
    rows[:, a.shape[1] :] = fill
    end -= len(a)
  return filled
