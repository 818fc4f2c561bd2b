import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.evaluators import evaluate
from d2v_jax.evaluators.feature_extractor import FeatureExtractor
from d2v_jax.evaluators.features import TokenSums
from d2v_jax.evaluators.position_share import PositionShare, position_share
from d2v_jax.models.encoder import EncoderOutput

LENGTHS = (6, 4, 6, 3, 5, 2, 1)


def by_hand(rows, places):
  """Epsilon squared, of tokens [n, D] and the position of each."""
  rows = rows.astype(np.float64)
  total = np.sum((rows - rows.mean(0)) ** 2)
  within = 0.0
  for place in set(places):
    group = rows[places == place]
    within += np.sum((group - group.mean(0)) ** 2)
  n, groups = len(rows), len(set(places))
  return max(0, 1 - within / (n - groups) / (total / (n - 1)))


def encode(params, batch):
  x = batch["inputs"] + 0 * params["shift"]
  layers = jnp.stack([x, x**2])
  return EncoderOutput(
    x + params["shift"], layers, -layers, layers, padding=batch.get("padding")
  )


def extractor(batches):
  return FeatureExtractor(encode, lambda split: iter(batches), dict)


def examples(seed=0):
  """Tokens [7, 6, 3]: something of each position, and noise."""
  rng = np.random.default_rng(seed)
  x = rng.normal(5, 1, (1, 6, 3)) + rng.normal(0, 1, (7, 6, 3))
  padding = np.arange(6) >= np.array(LENGTHS)[:, None]
  x[padding] = 100
  return x.astype(np.float32), padding


def shares(batches, params=None):
  evaluators = {"p": PositionShare()}
  found = extractor(batches)
  params = params or {"shift": np.float32(0)}
  return evaluate(evaluators, lambda asked: found(params, {}, asked))


def test_each_layer_as_by_hand():
  x, padding = examples()
  real, places = ~padding, np.broadcast_to(np.arange(6), padding.shape)
  # Two lengths of batches, and rows that only fill the second one.
  batches = [
    {"inputs": x[3:, :5], "padding": padding[3:, :5]},
    {
      "inputs": np.concatenate([x[:3], x[:1]]),
      "padding": np.concatenate([padding[:3], padding[:1]]),
      "valid": np.array([True, True, True, False]),
    },
  ]
  got = shares(batches)
  names = ["block_00", "block_01", "ffn_00", "ffn_01", "final"]
  assert list(got) == [f"p/{name}" for name in names]
  first = by_hand(x[real], places[real])
  assert 0.1 < first < 0.9
  second = by_hand(x[real] ** 2, places[real])
  expected = [first, second, first, second, first]
  np.testing.assert_allclose(list(got.values()), expected, rtol=0, atol=1e-5)


def test_far_from_zero_digits_are_not_lost():
  x, _ = examples()
  x[x == 100] = 4
  batches = [{"inputs": x}]
  far = shares(batches, {"shift": np.float32(3e3)})["p/final"]
  assert far == pytest.approx(shares(batches)["p/final"], abs=1e-3)


def test_positions_alone_and_none():
  x, _ = examples()
  same = np.broadcast_to(x[:1], x.shape)
  assert shares([{"inputs": same}])["p/block_00"] == pytest.approx(1, abs=1e-6)
  noise = np.random.default_rng(0).normal(size=(4000, 6, 3)).astype(np.float32)
  assert shares([{"inputs": noise}])["p/block_00"] < 0.01
  # Means of few examples differ by chance, too.
  assert shares([{"inputs": noise[:4]}])["p/block_00"] < 0.2


def test_the_network_that_is_asked_for():
  x, _ = examples()
  teacher = {"shift": np.arange(6, dtype=np.float32)[:, None] * 500}
  params, found = {"shift": np.float32(0)}, extractor([{"inputs": x}])
  share = {
    model: PositionShare(model=model)(
      found(params, teacher, TokenSums(model=model))
    )["final"]
    for model in ("teacher", "student")
  }
  assert share["teacher"] > 0.9 > share["student"]


def test_no_variance():
  count = np.array([2.0, 2.0])
  sums = np.full((2, 4), 2.0)  # ones, twice
  assert position_share(count, sums, np.full(2, 8.0)) == 0


def test_one_example():
  x, _ = examples()
  with pytest.raises(
    ValueError, match="no two examples of which a token has t"
  ):
    shares([{"inputs": x[:1]}])


@pytest.mark.parametrize(
  ("kwargs", "message"),
  [
    ({"model": "ema"}, "unknown model 'ema'; choose one of: teacher, student"),
    ({"split": "val"}, "TokenSums: unknown split 'val'; choose train, test"),
  ],
)
def test_arguments(kwargs, message):
  with pytest.raises(ValueError, match=message):
    _ = PositionShare(**kwargs).features
