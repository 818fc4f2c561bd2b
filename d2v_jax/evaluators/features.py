"""Frozen features of whole splits, and which of them an evaluator wants."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

if TYPE_CHECKING:
  from d2v_jax.models.encoder import EncoderOutput

MODELS = ("teacher", "student")
POOLS = ("mean", "cls")
ALL = "all"

# Split name -> features [n, D] (all layers: [n, L + 1, D]) float32 and labels
# [n] (None: no labels). In place of features, predictions [n] or [n, N], or
# scores [n, C] or [n, N, V]; letters are labels [n, U].
SplitFeatures = Mapping[str, tuple[np.ndarray, np.ndarray | None]]


@dataclasses.dataclass(frozen=True)
class Features:
  """Which features of a pretrained model are evaluated.

  Args:
    model: `'teacher'`, or `'student'`.
    layers: None for the final output (after the final norm, if there is one),
      or the layers whose block outputs are averaged, counted from 0; negative
      ones count from the last layer. `'all'` for every block's output and then
      the final one, side by side.
    pool: `'mean'` over the real tokens, or `'cls'` for the CLS token.

  Raises:
    ValueError: If `model` or `pool` is unknown, or `layers` is empty.
  """

  model: str = "teacher"
  layers: tuple[int, ...] | str | None = None
  pool: str = "mean"

  def __post_init__(self):
    _check_choice("model", self.model, MODELS)
    _check_choice("pool", self.pool, POOLS)
    if self.layers not in (None, ALL):
      if isinstance(self.layers, int | str) or not len(self.layers):
        raise ValueError(
          f"Features: layers is {self.layers!r}; give at least one layer in a "
          "tuple, such as (-1,), None for the final output, or 'all'"
        )
      # A config may give a list, which could not be hashed.
      object.__setattr__(self, "layers", tuple(self.layers))

  @classmethod
  def of(cls, choice: Features | Mapping[str, Any]) -> Features:
    """Returns `choice`, built if it is a config's dict of arguments."""
    return choice if isinstance(choice, cls) else cls(**choice)


@dataclasses.dataclass(frozen=True)
class Predictions:
  """Asks for what the objective predicts, in place of features.

  Args:
    split: The only split of which it is computed: `train`, `test`, or one whose
      name begins with `test_`.
    scores: Whether scores are wanted, of every class or (at each frame) letter,
      and not only what is likeliest.

  Raises:
    ValueError: If no split can have this name.
  """

  split: str = "test"
  scores: bool = False

  def __post_init__(self):
    if not is_split(self.split):
      raise ValueError(
        f"Predictions: unknown split {self.split!r}; choose train, test, or a "
        "further one named test_..., such as test_other"
      )


def one_vector(
  choice: Features | Mapping[str, Any], evaluator: str
) -> Features:
  """Returns features of which each example has one vector.

  Args:
    choice: Which features; or a dict of `Features` arguments.
    evaluator: Its name, for the error.

  Raises:
    ValueError: If all layers are asked for.
  """
  features = Features.of(choice)
  if features.layers == ALL:
    raise ValueError(
      f"{evaluator}: features.layers is 'all', and this evaluator measures one "
      "vector for each example; choose a layer, such as (-1,), or None for the "
      "final output, or measure each layer with LayerCurve ('layer_curve')"
    )
  return features


def is_split(name: str) -> bool:
  """Whether a split may have this name."""
  return name in ("train", "test") or name.startswith("test_")


def pool_features(output: EncoderOutput, features: Features) -> jax.Array:
  """Makes one vector per example of an encoder's output.

  Args:
    output: What `objective.encode` returned; `tokens` [B, N, D].
    features: Which layers to take and how to pool them.

  Returns:
    [B, D], float32; [B, L + 1, D] for all layers and the final output.

  Raises:
    ValueError: If a layer is out of range, or there is no CLS token to take.
  """
  use_cls = features.pool == "cls"
  if use_cls and output.cls is None:
    raise ValueError(
      "Features: pool is 'cls' but this model has no CLS token; "
      "use pool='mean', or a model with a CLS token"
    )
  final = output.cls if use_cls else output.tokens
  if features.layers is None:
    values = final
  elif features.layers == ALL:
    layers = output.block_cls if use_cls else output.block
    every = (*layers, final)
    pooled = [_over_tokens(x, output.padding, use_cls) for x in every]
    return jnp.stack(pooled, axis=1)
  else:
    depth = len(output.block)
    for layer in features.layers:
      if not -depth <= layer < depth:
        raise ValueError(
          f"Features: layer {layer} is out of range; this model has depth "
          f"{depth}, so layers are {-depth} to {depth - 1}"
        )
    layers = output.block_cls if use_cls else output.block
    values = layers[np.array(features.layers)].mean(0, dtype=jnp.float32)
  return _over_tokens(values, output.padding, use_cls)


def _over_tokens(values, padding, use_cls):
  """Mean over the real tokens; of a CLS token there is only one."""
  values = values.astype(jnp.float32)
  if use_cls:
    return values
  if padding is None:
    return values.mean(1)
  real = ~padding[..., None]
  # Rows that fill a batch may have no real token at all.
  return jnp.where(real, values, 0).sum(1) / jnp.maximum(real.sum(1), 1)


def token_features(
  output: EncoderOutput, features: Features
) -> tuple[jax.Array, jax.Array]:
  """Takes the features of each token by itself.

  Args:
    output: of an encoder; `tokens` [B, N, D].
    features: which layers; `pool` does not matter.

  Returns:
    float32 [B, N, D] ([B, N, L + 1, D] for all layers), padding last, and
    int [B], the number of tokens before it.

  Raises:
    ValueError: a layer is out of range.
  """
  batch, count = output.tokens.shape[:2]

  def alone(x):  # [..., B, N, D] -> [..., B * N, 1, D]
    return x.reshape(*x.shape[:-3], batch * count, 1, x.shape[-1])

  each = output._replace(
    tokens=alone(output.tokens), block=alone(output.block), padding=None
  )
  values = pool_features(each, dataclasses.replace(features, pool="mean"))
  sizes = jnp.full(batch, count)
  if output.padding is not None:
    sizes = (~output.padding).sum(1)
  return values.reshape(batch, count, *values.shape[1:]), sizes


class FeatureExtractor:
  """Turns splits into arrays of features, all through one jitted function.

  A probe that is fitted on other features than it is scored on measures
  nothing, so there is no second path for the test split.
  """

  def __init__(
    self,
    encode: Callable[..., EncoderOutput],
    batches: Callable[[str], Iterable[Mapping[str, np.ndarray]]],
    to_device: Callable[[Mapping[str, np.ndarray]], Mapping[str, jax.Array]],
    splits: tuple[str, ...] = ("train", "test"),
    predict: Callable[..., jax.Array] | None = None,
    scores: Callable[..., jax.Array] | None = None,
  ):
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
    """
    self._batches = batches
    self._to_device = to_device
    self._splits = splits

    def embed(params, teacher_params, batch, features):
      if features.model == "teacher":
        params = {**params, **teacher_params}
      return pool_features(encode(params, batch), features)

    self._embed = jax.jit(embed, static_argnames="features")
    self._predict = {False: predict, True: scores}
    self._predict = {k: f and jax.jit(f) for k, f in self._predict.items()}

  def __call__(
    self,
    params: Mapping[str, Any],
    teacher_params: Mapping[str, Any],
    features: Features | Predictions,
  ) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Extracts every split once; the same arrays on every host.

    Args:
      params: The student's parameters.
      teacher_params: The sub-trees that the teacher has of its own.
      features: Which features to extract; or the student's predictions.

    Returns:
      Of each split the features [n, D] float32 and the labels [n], aligned,
      without fill rows. Labels are None where the batches have none. With
      several hosts the order of rows is not that of the data set.
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

    def embed(batch):
      return self._embed(params, teacher_params, batch, features)

    what = f"{features.model} features"
    return {split: self._extract(embed, split, what) for split in self._splits}

  def _predictions(self, params, wanted):
    predict, split = self._predict[wanted.scores], wanted.split
    if predict is None:
      what = "scores" if wanted.scores else "predictions"
      raise ValueError(
        f"FeatureExtractor: an evaluator asks for {what}, and the objective "
        "makes none; remove it from config.evaluation.evaluators, or choose a "
        "supervised objective (classification, ctc, regression)"
      )
    predict = functools.partial(predict, params)
    return {split: self._extract(predict, split, "predictions")}

  def _extract(self, compute, split, what):
    xs, ys = [], []
    for host_batch in self._batches(split):
      batch = self._to_device(host_batch)
      wanted = {k: batch[k] for k in ("label", "valid") if k in batch}
      wanted["x"] = compute(batch)
      # On several hosts no host holds all rows; on one this only fetches.
      got = multihost_utils.process_allgather(wanted, tiled=True)
      valid = got.get("valid", slice(None))
      xs.append(got["x"][valid])
      if "label" in got:
        ys.append(got["label"][valid])
    if not sum(map(len, xs)):
      raise ValueError(
        f"FeatureExtractor: split {split!r} gave no examples; name a split "
        "that has some"
      )
    x = _concatenate(xs, _certain_blank(xs[0]) if xs[0].ndim == 3 else 0)
    if not np.isfinite(x).all():
      raise ValueError(
        f"FeatureExtractor: the {what} of split {split!r} are not finite: the "
        "model has diverged, so evaluate an earlier checkpoint"
      )
    return x, _concatenate(ys, -1) if ys else None


def _certain_blank(scores):
  """Log-probabilities [V] of a frame at which CTC says nothing."""
  return np.where(np.arange(scores.shape[-1]), -1e9, 0).astype(scores.dtype)


def _concatenate(arrays, fill):
  """Rows of [n] or [n, m, ...] arrays, filled at their ends to the widest."""
  if arrays[0].ndim == 1:
    return np.concatenate(arrays)
  widest = max(a.shape[1] for a in arrays)
  rows, row = sum(map(len, arrays)), 0
  shape = (rows, widest, *arrays[0].shape[2:])
  filled = np.full(shape, fill, arrays[0].dtype)
  for a in arrays:
    filled[row : row + len(a), : a.shape[1]] = a
    row += len(a)
  return filled


def labelled(
  features: SplitFeatures, split: str
) -> tuple[np.ndarray, np.ndarray]:
  """Takes a split whose class labels are needed.

  Args:
    features: Split name -> (features [n, D] float32, labels [n] or None).
    split: Name of the split.

  Returns:
    Features [n, D] float32 and labels [n] int32.

  Raises:
    ValueError: If the split has no labels, or they are not class numbers.
  """
  x, y = features[split]
  if y is None:
    raise ValueError(
      f"split {split!r} has no labels, which this evaluator needs; add "
      "'label' to its batches or remove the evaluator from "
      "config.evaluation.evaluators"
    )
  if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
    raise ValueError(
      f"split {split!r} has labels of shape {y.shape} and type {y.dtype}, "
      f"smallest {y.min()}; this evaluator needs one class number >= 0 for "
      "each example"
    )
  return x, y.astype(np.int32)


def _check_choice(name, value, choices):
  if value not in choices:
    raise ValueError(
      f"Features: unknown {name} {value!r}; choose one of: {', '.join(choices)}"
    )
