"""Runs a network over examples, batch by batch, and logs its features."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import jax
import numpy as np
import tqdm

from d2v_jax.evaluators import features as features_lib
from d2v_jax.evaluators import pooling
from d2v_jax.evaluators.features import (
  Features,
  token_features,
)
from d2v_jax.extraction.examples import Example, Examples
from d2v_jax.extraction.log import Log
from d2v_jax.pretrained import Pretrained
from d2v_jax.training import sharding

TOKENS = "tokens"

_THREADS = 16
# Groups of one length that wait to be full. As examples come in the order of
# length, more than two is a sign of headers that do not say the truth.
_WAITING = 4


@dataclasses.dataclass(frozen=True)
class Wanted:
  """Which features are written.

  Args:
    model: 'teacher' or 'student'.
    layers: as a command line says it: 'final', 'all', or numbers such as '7' or
      '-1,-2', whose outputs are averaged.
    pool: the name of a pooling; 'tokens' keeps each token as a row.

  Raises:
    ValueError: an argument is none of these.
  """

  model: str
  layers: str
  pool: str

  def __post_init__(self):
    pooling.parse(self.pool)  # raises for it
    _ = self.features  # raises for layers

  @property
  def features(self) -> Features:
    """What to take of the network's output."""
    if self.layers == "final":
      return Features(self.model, None, self.pool)
    if self.layers == features_lib.ALL:
      return Features(self.model, features_lib.ALL, self.pool)
    try:
      layers = tuple(int(x) for x in self.layers.split(","))
    except ValueError as e:
      raise ValueError(
        f"unknown layers {self.layers!r}; give numbers from 0 on, such as 7 or "
        "7,8 (averaged) or -1 (the last), all, or final."
      ) from e
    return Features(self.model, layers, self.pool)

  def check(self, grid: pooling.Grid) -> None:
    """Checks that a network's tokens can be pooled so.

    Args:
      grid: (H, W) of its patches; () for tokens in time.

    Raises:
      ValueError: they cannot.
    """
    if self.pool != TOKENS:
      self.features.check(grid)


def extract(
  model: Pretrained,
  examples: Examples,
  wanted: Wanted,
  log: Log,
  *,
  batch_size: int,
  fill: bool = True,
  precision: str | None = None,
  skip: Callable[[int], None],
) -> None:
  """Adds to the log the features of the examples that are not in it.

  Args:
    model: the network.
    examples: what it is shown.
    wanted: which features.
    log: where they go.
    batch_size: rows at a time, over all devices; rounded up to their number.
    fill: fill batches to batch_size, so that each length is compiled once;
      False where lengths are many and seldom shared.
    precision: of matrix products, for `jax.default_matmul_precision`.
    skip: called with the number of an example that cannot be read.

  Raises:
    ValueError: the network does not have such features, or they are not finite.
  """
  done, devices = log.done, model.mesh.size
  order = [i for i in examples.order().tolist() if i not in done]
  size = -(-min(batch_size, len(examples)) // devices) * devices
  compute = _compute(model, wanted)
  bar = tqdm.tqdm(
    total=len(examples),
    initial=len(done),
    desc="features",
    unit=" examples",
    disable=None,
  )
  ahead = _ahead(examples.__getitem__, order, 2 * size)

  def usable():
    for index, example in zip(order, ahead, strict=True):
      if example is None:
        skip(index)
        bar.update()
      else:
        yield example

  with contextlib.closing(ahead), bar, jax.default_matmul_precision(precision):
    for batch in _batches(usable(), size):
      rows = size if fill else -(-len(batch) // devices) * devices
      values, sizes = compute(_stacked(batch, rows), len(batch))
      _append(log, batch, values, sizes, examples)
      bar.update(len(batch))


def say(text: str) -> None:
  """Prints a line to stderr, beside a bar that may be there."""
  tqdm.tqdm.write(text, file=sys.stderr)


def _compute(model, wanted):
  """(arrays, n) -> the first n rows' values, [n, ...], and sizes or None."""
  by_token = wanted.pool == TOKENS
  where = sharding.batch_sharding(model.mesh)

  @jax.jit
  def each_token(params, batch):
    output = model.encoder(params, batch)
    return token_features(output, wanted.features)

  def compute(batch, n):
    batch = sharding.to_devices(batch, where)
    if not by_token:
      return np.asarray(model.extract(batch, wanted.features))[:n], None
    values, sizes = map(np.asarray, each_token(model.params, batch))
    sizes = sizes[:n].tolist()
    kept = [x[:k] for x, k in zip(values, sizes, strict=False)]
    return np.concatenate(kept), sizes

  return compute


def _append(log, batch, values, sizes, examples):
  if not np.isfinite(values).all():
    raise ValueError(
      f"the features of {examples.name(batch[0].index)}, or of an example in "
      "the same batch, are not finite: the network has diverged; choose an "
      "earlier checkpoint with --step."
    )
  labels = [example.label for example in batch]
  log.append(
    [example.index for example in batch],
    values,
    sizes,
    None if labels[0] is None else labels,
  )


def _stacked(batch: list[Example], rows: int) -> dict[str, np.ndarray]:
  """Arrays [rows, ...]; the last rows repeat the first examples."""
  stacked = {}
  for key in batch[0].arrays:
    values = np.stack([example.arrays[key] for example in batch])
    stacked[key] = np.resize(values, (rows, *values.shape[1:]))
  return stacked


def _batches(examples: Iterable[Example], size: int) -> Iterator[list[Example]]:
  """Groups examples of one shape; what a group is, order and size decide."""
  waiting: dict[Any, list[Example]] = {}
  for example in examples:
    shape = example.arrays["inputs"].shape
    waiting.setdefault(shape, []).append(example)
    if len(waiting[shape]) == size:
      yield waiting.pop(shape)
    elif len(waiting) > _WAITING:
      yield waiting.pop(next(iter(waiting)))
  yield from waiting.values()


def _ahead(
  read: Callable[[int], Any], order: list[int], ahead: int
) -> Generator[Any, None, None]:
  """Yields read(i) for each i in order; threads read so many ahead."""
  with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
    waiting: collections.deque[Any] = collections.deque()
    try:
      for index in order:
        waiting.append(pool.submit(read, index))
        if len(waiting) > ahead:
          yield waiting.popleft().result()
      while waiting:
        yield waiting.popleft().result()
    finally:
      for future in waiting:
        future.cancel()
