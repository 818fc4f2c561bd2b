import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import RectBivariateSpline

from d2v_jax.models import resizing
from d2v_jax.models.vision import vit


def torch_bicubic(grid, size):
  """interpolate(mode='bicubic', align_corners=False), pixel by pixel."""

  def weight(d, a=-0.75):
    d = abs(d)
    if d <= 1:
      return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0

  def at(array, position):
    first = int(np.floor(position))
    return sum(
      weight(position - i) * array[min(max(i, 0), len(array) - 1)]
      for i in range(first - 1, first + 3)
    )

  positions = [(i + 0.5) * len(grid) / size - 0.5 for i in range(size)]
  rows = np.array([at(grid, p) for p in positions])
  return np.array([[at(row, p) for p in positions] for row in rows])


def beit_table(table, side, size):
  """BEiT's fine-tuning: a table [(2 side - 1)**2 + 3, heads] for another."""
  old, new = 2 * side - 1, 2 * size - 1
  low, high = 1.01, 1.5
  while high - low > 1e-6:
    q = (low + high) / 2
    if sum(q**i for i in range(old // 2)) > new // 2:
      high = q
    else:
      low = q
  ahead = [sum(q**j for j in range(i + 1)) for i in range(old // 2)]
  x = [-d for d in reversed(ahead)] + [0] + ahead
  wanted = np.arange(-(new // 2), new // 2 + 1)
  degree = min(3, old - 1)
  heads = [
    RectBivariateSpline(x, x, column.reshape(old, old), kx=degree, ky=degree)(
      wanted, wanted
    ).ravel()
    for column in table[:-3].T
  ]
  return np.concatenate([np.stack(heads, 1), table[-3:]])


@pytest.mark.parametrize(
  ("size", "expected"),
  [
    (2, [[0.57273865, 3.49757385], [1.0717926, 1.3813324]]),
    (
      5,
      [
        [-0.297216, 0.010336, 0.904, 2.877664, 4.297216],
        [0.782336, 0.920144, 1.532, 3.223856, 4.473664],
        [2.0, 1.856, 2.0, 3.224, 4.192],
        [1.597664, 1.171856, 0.848, 1.604144, 2.290336],
        [1.009216, 0.413664, -0.192, 0.282336, 0.798784],
      ],
    ),
  ],
)
def test_bicubic_as_torch_computes_it(size, expected):
  # Numbers of torch 2.13, of k**2 mod 7 in a 3 x 3 grid.
  grid = np.arange(9.0) ** 2 % 7
  np.testing.assert_allclose(
    torch_bicubic(grid.reshape(3, 3), size), expected, atol=1e-8
  )
  got = resizing.fit_embedding(grid.reshape(1, 9, 1), (size, size), 0)
  np.testing.assert_allclose(got[0, :, 0], np.ravel(expected), atol=1e-6)


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize(("side", "size"), [(3, 4), (7, 3), (14, 24), (1, 2)])
def test_absolute_positions(side, size, prefix):
  rng = np.random.default_rng(side)
  table = rng.normal(size=(1, prefix + side * side, 2))
  with jax.enable_x64(True):
    got = np.asarray(resizing.fit_embedding(table, (size, size), prefix))
  assert got.shape == (1, prefix + size * size, 2)
  np.testing.assert_array_equal(got[:, :prefix], table[:, :prefix])
  for d in range(2):
    expected = torch_bicubic(table[0, prefix:, d].reshape(side, side), size)
    np.testing.assert_allclose(got[0, prefix:, d], expected.ravel(), atol=1e-12)


@pytest.mark.parametrize(
  ("side", "size"), [(14, 24), (14, 7), (4, 5), (3, 9), (2, 3), (8, 4)]
)
def test_relative_positions(side, size):
  rng = np.random.default_rng(side)
  layers = rng.normal(size=(2, (2 * side - 1) ** 2 + 3, 2))
  expected = [beit_table(table, side, size) for table in layers]
  with jax.enable_x64(True):
    got = resizing.fit_relative(layers, (size, size))
    shared = resizing.fit_relative(layers[1], (size, size))
  np.testing.assert_allclose(got, expected, atol=1e-9)
  np.testing.assert_allclose(shared, expected[1], atol=1e-9)
  np.testing.assert_array_equal(got[:, -3:], layers[:, -3:])


def test_one_patch_becomes_the_same_everywhere():
  table = np.array([[5.0], [1.0], [2.0], [3.0]], np.float32)
  got = resizing.fit_relative(table, (2, 2))[:, 0]
  np.testing.assert_array_equal(got, [5.0] * 9 + [1.0, 2.0, 3.0])


def network(image_size, positions, cls_token=True):
  return vit(
    image_size=image_size,
    patch_size=4,
    width=8,
    depth=2,
    num_heads=2,
    positions=positions,
    cls_token=cls_token,
  )


@pytest.mark.parametrize("cls_token", [True, False])
@pytest.mark.parametrize(
  "positions", ["relative", "relative_layers", "absolute", "sincos"]
)
class TestEncoder:
  def fresh(self, encoder, size):
    batch = {"inputs": jnp.zeros((1, size, size, 3))}
    return jax.eval_shape(encoder.init, jax.random.key(0), batch)

  def test_parameters_of_another_size_fit(self, positions, cls_token):
    small, large = (network(s, positions, cls_token) for s in (12, 20))
    shapes = self.fresh(small, 12)
    params = jax.tree.map(lambda s: np.ones(s.shape, s.dtype), shapes)
    fitted = jax.jit(large.resize)(params)
    assert jax.tree.map(jnp.shape, fitted) == jax.tree.map(
      lambda s: s.shape, self.fresh(large, 20)
    )
    # Interpolation keeps what is constant.
    for leaf in jax.tree.leaves(fitted):
      np.testing.assert_allclose(leaf, 1, atol=1e-5)

  def test_what_fits_stays(self, positions, cls_token):
    encoder = network(12, positions, cls_token)
    params = self.fresh(encoder, 12)
    params = {**params, "head": jnp.zeros(3)}
    fitted = encoder.resize(params)
    assert jax.tree.structure(fitted) == jax.tree.structure(params)
    for a, b in zip(*map(jax.tree.leaves, (fitted, params)), strict=True):
      assert a is b
    # As a teacher's: some of the sub-trees.
    assert encoder.resize({"norm": params["norm"]}) == {"norm": params["norm"]}


@pytest.mark.parametrize(
  ("params", "message"),
  [
    (
      {"position_embedding": np.zeros((1, 9, 8))},
      r"position_embedding \(1, 9, 8\): after 1 for the CLS token .* \(3, 3\)",
    ),
    (
      {"relative_position_bias": {"table": np.zeros((30, 2))}},
      r"table \(30, 2\): its rows must be \(2 S - 1\)\*\*2 \+ 3 .* \(3, 3\)",
    ),
    (
      {"blocks": {"relative_position_bias": {"table": np.zeros((2, 19, 2))}}},
      r"table \(2, 19, 2\): its rows must be",
    ),
  ],
)
def test_errors(params, message):
  with pytest.raises(ValueError, match=message):
    network(12, "relative").resize(params)
