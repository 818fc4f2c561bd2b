"""The network of a run, and what it makes of examples."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from d2v_jax import pretrained
from d2v_jax.evaluators.features import ALL, Features
from d2v_jax.evaluators.knn import Knn
from d2v_jax.evaluators.linear_probe import LinearProbe
from d2v_jax.report import examples
from d2v_jax.report.examples import Part, Shown
from d2v_jax.report.opened import Opened
from d2v_jax.report.pictures.drawer import Drawer
from d2v_jax.report.stored import Stored

# Examples that are in memory at a time.
_TOGETHER = 64
ASKED = 1000


class Vectors(NamedTuple):
  """Features of a part.

  Attributes:
    indices: of the examples that could be read [n].
    features: float32 [n, E].
    labels: class numbers [n]; None where one has none.
  """

  indices: np.ndarray
  features: np.ndarray
  labels: np.ndarray | None


class Network:
  """What sections about features have in common, computed when it is needed.

  Args:
    run: its files.
    opened: its data.
    drawer: of its examples.
    learned: at most so many examples are looked for neighbours among.
  """

  def __init__(
    self, run: Stored, opened: Opened, drawer: Drawer, learned: int
  ) -> None:
    self.run = run
    self.opened = opened
    self.drawer = drawer
    self._learned = learned
    self._vectors: dict[Any, Vectors] = {}

  @functools.cached_property
  def model(self) -> pretrained.Pretrained:
    """The network that the run's evaluators measure.

    Raises:
      ValueError: there is no checkpoint, or it does not fit.
    """
    weights: epath.PathLike = self.run.workdir
    if not (self.run.workdir / "checkpoints").exists():
      weights = self.run.config.get("init_from") or weights  # of a probe
    evaluators = self.opened.evaluation.evaluators.values()
    asked = [
      x.features.model for x in evaluators if isinstance(x, LinearProbe | Knn)
    ]
    return pretrained.load(weights, asked[0] if asked else None, num_devices=1)

  @functools.cached_property
  def parts(self) -> tuple[Part, Part]:
    """See `examples.parts`."""
    return examples.parts(self.opened, self._learned, ASKED)

  def evaluator(
    self, kind: type[LinearProbe | Knn]
  ) -> tuple[LinearProbe | Knn, Features]:
    """The run's evaluator of a kind, and which features it measured last."""
    for name, found in self.opened.evaluation.evaluators.items():
      if isinstance(found, kind):
        return found, self._read_off(name, found.features)
    return kind(), Features(self.model.model)

  def _read_off(self, name: str, asked: Features) -> Features:
    """One layer and pooling, those that an evaluator chose."""
    layers, pool = asked.layers, asked.pools[0]
    if layers == ALL:
      best = self.run.last(f"{name}/best_layer")
      depth = self.opened.config["encoder"]["depth"]
      layers = (int(best),) if best < depth else None  # NaN: the final output
    best = self.run.last(f"{name}/best_pool")
    if len(asked.pools) > 1 and best < len(asked.pools):
      pool = asked.pools[int(best)]
    return Features(asked.model, layers, pool)

  def vectors(self, part: Part, asked: Features) -> Vectors:
    """Features of all examples of a part.

    Args:
      part: the examples.
      asked: one layer and pooling.

    Raises:
      ValueError: no example can be read.
    """
    key = part.split, part.indices.tobytes(), asked
    if key not in self._vectors:
      self._vectors[key] = self._computed(part, asked)
    return self._vectors[key]

  def _computed(self, part: Part, asked: Features) -> Vectors:
    shown: list[Shown] = []
    features: list[np.ndarray] = []
    for start in range(0, len(part.indices), _TOGETHER):
      found = part.read(part.indices[start : start + _TOGETHER])
      features += self._features(found, asked)
      # What was read is large.
      shown += [dataclasses.replace(x, row={}, samples=None) for x in found]
    if not features:
      raise ValueError(f"{part.split}: not one example can be read.")
    labels = [x.label for x in shown]
    return Vectors(
      np.array([x.index for x in shown]),
      np.stack(features),
      None if None in labels else np.array(labels, np.int32),
    )

  def _features(self, shown: Sequence[Shown], asked: Features) -> list[Any]:
    assert isinstance(asked.pool, str)
    pool = asked.pool
    return self._by_shape(
      shown,
      lambda batch: self.model.features(
        batch, layers=asked.layers, pool=pool, batch_size=_TOGETHER
      ),
    )

  def tokens(self, shown: Sequence[Shown]) -> list[np.ndarray]:
    """The final output for each token, padding apart: [N, D] of each."""
    found = self._by_shape(
      shown, lambda batch: self.model.encode(batch, batch_size=len(shown))
    )
    return [
      x[: self.drawer.tokens(s.row)] for x, s in zip(found, shown, strict=True)
    ]

  def _by_shape(self, shown: Sequence[Shown], function: Any) -> list[Any]:
    """What a function gives for each example, computed shape by shape."""
    shapes = [x.row["inputs"].shape for x in shown]
    results: list[Any] = [None] * len(shown)
    for shape in dict.fromkeys(shapes):
      places = [i for i, x in enumerate(shapes) if x == shape]
      rows = [shown[i].row for i in places]
      batch = {k: np.stack([row[k] for row in rows]) for k in rows[0]}
      for i, value in zip(places, function(batch), strict=True):
        results[i] = value
    return results
