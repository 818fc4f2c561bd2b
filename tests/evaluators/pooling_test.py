import jax
import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.evaluators import pooling

NAMES = ["mean", "mean_std", "segments:1", "segments:3", "segments:8"]
LENGTHS = (7, 4, 1)


def padded(seed=0):
  """Tokens [3, 9, 4] of LENGTHS, with no numbers at padding."""
  tokens = np.random.default_rng(seed).normal(3, 2, (3, 9, 4))
  padding = np.arange(9) >= np.array(LENGTHS)[:, None]
  tokens[padding] = np.nan
  return tokens.astype(np.float32), padding


def by_hand(name, rows):
  """One example's real tokens [n, D], in float64."""
  rows = rows.astype(np.float64)
  if name == "mean":
    return rows.mean(0)
  if name == "mean_std":
    return np.concatenate([rows.mean(0), rows.std(0)])
  parts = int(name.split(":")[1])
  means, n = [], len(rows)
  for i in range(parts):
    first, end = int(np.floor(i * n / parts)), int(np.ceil((i + 1) * n / parts))
    means.append(rows[first:end].mean(0))
  return np.concatenate(means)


@pytest.mark.parametrize("name", NAMES)
def test_each_example_by_its_real_tokens(name):
  tokens, padding = padded()
  expected = [
    by_hand(name, x[:n]) for x, n in zip(tokens, LENGTHS, strict=True)
  ]
  got = pooling.pool(jnp.asarray(tokens), jnp.asarray(padding), name)
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_padding_in_any_place(name):
  tokens, padding = padded()
  where = np.random.default_rng(1).permutation(9)
  # The real ones stay in order; the padding comes between them.
  place = np.array([np.argsort(p[where], kind="stable") for p in padding])
  moved, mask = np.empty_like(tokens), np.empty_like(padding)
  for i, row in enumerate(place):
    moved[i, row], mask[i, row] = tokens[i], padding[i]
  assert (mask != padding).any()
  np.testing.assert_allclose(
    pooling.pool(jnp.asarray(moved), jnp.asarray(mask), name),
    pooling.pool(jnp.asarray(tokens), jnp.asarray(padding), name),
    rtol=0,
    atol=1e-6,
  )


@pytest.mark.parametrize("name", NAMES)
def test_no_padding_is_padding_nowhere(name):
  tokens = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 3)))
  np.testing.assert_allclose(
    pooling.pool(tokens, None, name),
    pooling.pool(tokens, jnp.zeros((2, 6), bool), name),
    rtol=0,
    atol=1e-6,
  )


@pytest.mark.parametrize("name", NAMES)
def test_padding_alone_is_zero(name):
  tokens = jnp.full((2, 5, 3), jnp.nan)
  got = pooling.pool(tokens, jnp.ones((2, 5), bool), name)
  assert (np.asarray(got) == 0).all()


def test_parts_that_divide_share_nothing():
  tokens = jnp.arange(8.0).reshape(1, 8, 1)
  np.testing.assert_array_equal(
    pooling.pool(tokens, None, "segments:4"), [[0.5, 2.5, 4.5, 6.5]]
  )


@pytest.mark.parametrize(
  ("grid", "parts", "expected"),
  [
    # Tokens 0 to 15, four in a row.
    ((4, 4), 1, [7.5]),
    ((4, 4), 2, [2.5, 4.5, 10.5, 12.5]),
    ((4, 4), 4, list(range(16))),
    # Rows 0-1, 1-2, 2-3 of four; columns 0-1, 1-2, 2-3.
    ((4, 4), 3, [2.5, 3.5, 4.5, 6.5, 7.5, 8.5, 10.5, 11.5, 12.5]),
    # Two rows of three: columns 0-1 and 1-2.
    ((2, 3), 2, [0.5, 1.5, 3.5, 4.5]),
    # Rows are time of a spectrogram, columns frequency.
    ((4, 2), "4x1", [0.5, 2.5, 4.5, 6.5]),
    ((4, 2), "1x2", [3, 4]),
    ((4, 2), "2x2", [1, 2, 5, 6]),
  ],
)
def test_cells(grid, parts, expected):
  count = grid[0] * grid[1]
  tokens = jnp.arange(float(count)).reshape(1, count, 1)
  tokens = jnp.concatenate([tokens, -10 * tokens], -1)
  got = pooling.pool(tokens, None, f"cells:{parts}", grid)
  # The numbers of a cell stay together.
  both = np.stack([expected, -10 * np.array(expected)], -1)
  np.testing.assert_allclose(got, both.reshape(1, -1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["mean", "mean_std", "cells:3x2", "cells:2x1"])
def test_rows_of_padding_are_in_no_cell(name):
  """A spectrogram of four rows in time, then silence."""
  tokens = np.random.default_rng(0).normal(size=(2, 6, 2, 3)).astype(np.float32)
  padding = np.zeros((2, 6, 2), bool)
  tokens[1, 4:], padding[1, 4:] = np.nan, True

  def pooled(x, padding, rows):
    flat = None if padding is None else jnp.asarray(padding.reshape(len(x), -1))
    x = jnp.asarray(x.reshape(len(x), -1, 3))
    return pooling.pool(x, flat, name, (rows, 2))

  got = pooled(tokens, padding, 6)
  for row, alone in ((0, tokens[:1]), (1, tokens[1:, :4])):
    expected = pooled(alone, None, alone.shape[1])
    np.testing.assert_allclose(got[row], expected[0], rtol=0, atol=1e-6)


def test_all_tokens_side_by_side():
  tokens = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 3)))
  got = pooling.pool(tokens, None, "tokens", (2, 3))
  np.testing.assert_array_equal(got, tokens.reshape(2, 18))


@pytest.mark.parametrize("name", ["mean", "mean_std", "segments:3", "cells:2"])
def test_low_precision_is_pooled_in_float32(name):
  grid = (3, 3) if name == "cells:2" else ()
  tokens = jnp.asarray(
    np.random.default_rng(0).normal(size=(2, 9, 4)), jnp.bfloat16
  )
  got = pooling.pool(tokens, None, name, grid)
  wide = pooling.pool(tokens.astype(jnp.float32), None, name, grid)
  assert got.dtype == jnp.float32
  np.testing.assert_array_equal(got, wide)


def test_the_spread_of_what_is_far_from_zero():
  """A mean of squares minus a squared mean would have no digits left."""
  tokens = jnp.asarray([[[4000.0], [4000.5], [4001.0]]])
  got = pooling.pool(tokens, None, "mean_std")
  np.testing.assert_allclose(got, [[4000.5, np.sqrt(1 / 6)]], rtol=1e-5)


def test_lengths_do_not_compile_anew():
  traces = []

  @jax.jit
  def pooled(tokens, padding):
    traces.append(tokens.shape)
    return pooling.pool(tokens, padding, "segments:8")

  for length in (1, 5, 9):
    pooled(jnp.ones((2, 9, 3)), jnp.arange(9)[None].repeat(2, 0) >= length)
  assert len(traces) == 1


def test_names():
  assert pooling.parse("mean_std") == ("mean_std", ())
  assert pooling.parse("cells:14") == ("cells", (14, 14))
  assert pooling.parse("cells:8x2") == ("cells", (8, 2))
  assert pooling.parse("segments:8") == ("segments", (8,))


@pytest.mark.parametrize(
  "name",
  [
    *["max", "", "cells", "cells:", "cells:0", "segments:-1", "mean:2"],
    *["cells:2x", "cells:2x0", "cells:2x2x2", "segments:2x2"],
  ],
)
def test_names_that_are_none(name):
  with pytest.raises(
    ValueError,
    match=f"^unknown pool '{name}'; choose one of: mean, cls, tokens, mean_std,"
    " cells:R such as cells:2, cells:RxC such as cells:8x2,"
    " segments:S such as segments:8$",
  ):
    pooling.parse(name)


@pytest.mark.parametrize(
  ("name", "grid", "message"),
  [
    (
      "cells:2",
      (),
      "'cells:2' is for images, .* segments, such as 'segments:8",
    ),
    ("tokens", (), "'tokens' makes one vector of all .* take segments, such"),
    ("segments:8", (4, 4), "'segments:8' is for tokens in time; of images t"),
    ("cells:5", (4, 6), "5 x 5 cells, .* have 4 x 6 .* at most cells:4x5$"),
    ("cells:2x9", (4, 6), "2 x 9 cells, .* have 4 x 6 .* at most cells:2x6$"),
  ],
)
def test_what_tokens_are_not(name, grid, message):
  with pytest.raises(ValueError, match=message):
    pooling.check(name, grid)
  with pytest.raises(ValueError, match=message):
    pooling.pool(jnp.ones((1, 24, 2)), None, name, grid)
