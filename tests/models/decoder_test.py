import jax
import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.models.decoder import ConvDecoder
from tests.reference import data2vec2 as reference

TEXT = {
  "kernel": 9,
  "groups": 1,
  "residual": False,
  "projection_layers": 2,
  "initial": "normal",
}


def make(**changes):
  """A decoder of tokens of width 8, and parameters that are not small."""
  options = {"width": 8, "layers": 2, "groups": 2, "kernel": 3, **changes}
  decoder = ConvDecoder(**options)
  length = 12 if decoder.grid else 7
  params = decoder.init(jax.random.key(0), jnp.zeros((1, length, 8)))
  return decoder, jax.tree.map(lambda p: 3 * p, params)


def tokens(visible):
  rng = np.random.default_rng(0)
  return rng.normal(size=(2, visible, 8)).astype(np.float32)


@pytest.mark.parametrize(
  "changes",
  [
    {"grid": (3, 4)},
    {"grid": (3, 4), "kernel": 4, "width": 16, "groups": 4},
    {"grid": (4, 3), "residual": False, "projection_layers": 3},
  ],
  ids=str,
)
def test_a_grid_is_the_formula(changes):
  decoder, params = make(**changes)
  keep_ids = np.array([[0, 3, 7, 11], [1, 2, 5, 6]])
  x = tokens(4)
  y = jax.jit(lambda x: decoder(params, x, keep_ids, 12, None))(x)
  params = jax.tree.map(np.float64, params)
  for row in range(2):
    expected = reference.decoder(
      params,
      x[row],
      keep_ids[row],
      decoder.grid,
      groups=decoder.groups,
      residual=decoder.residual,
    )
    np.testing.assert_allclose(y[row], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", [4, 5])
def test_a_sequence_is_a_grid_of_one_row(kernel):
  decoder, params = make(kernel=kernel)
  keep_ids = np.array([[0, 3, 6], [1, 2, 5]])
  x = tokens(3)
  y = jax.jit(lambda x: decoder(params, x, keep_ids, 7, None))(x)
  params = jax.tree.map(np.float64, params)
  for name in ("conv0", "conv1"):
    row = np.zeros((kernel, *params[name]["kernel"].shape))
    row[kernel // 2] = params[name]["kernel"]
    params[name]["kernel"] = row
  for row in range(2):
    expected = reference.decoder(
      params, x[row], keep_ids[row], (1, 7), groups=2, residual=True
    )
    np.testing.assert_allclose(y[row], expected, rtol=1e-5, atol=1e-5)


def test_tokens_go_to_their_places_and_noise_elsewhere():
  decoder, _ = make(noise_std=0.5)
  keep_ids = np.stack([np.arange(0, 800, 2), np.arange(1, 801, 2)])
  x = tokens(400)
  filled = decoder.fill(x, keep_ids, 801, jax.random.key(0))
  for row in range(2):
    np.testing.assert_array_equal(filled[row, keep_ids[row]], x[row])
  hidden = np.delete(filled[0], keep_ids[0], axis=0)
  np.testing.assert_allclose(hidden.std(), 0.5, rtol=0.05)
  assert abs(hidden.mean()) < 0.05
  quiet = decoder.fill(x, keep_ids, 801, None)
  assert not np.delete(quiet[0], keep_ids[0], axis=0).any()


@pytest.mark.parametrize("positions", ["hidden", "all"])
def test_positions_are_added_where_they_are_asked_for(positions):
  decoder, _ = make(grid=(3, 4), positions=positions)
  keep_ids = np.array([[0, 5, 11], [1, 2, 3]])
  x = tokens(3)
  filled = decoder.fill(x, keep_ids, 12, None)
  table = reference.sincos((3, 4), x.shape[-1])
  for row in range(2):
    expected = table.copy()
    expected[keep_ids[row]] *= positions == "all"
    expected[keep_ids[row]] += x[row]
    np.testing.assert_allclose(filled[row], expected, rtol=1e-5, atol=1e-5)


def test_input_dropout_is_of_the_tokens_alone():
  decoder, _ = make(input_dropout=0.25)
  keep_ids = np.broadcast_to(np.arange(0, 800, 2), (2, 400))
  filled = decoder.fill(tokens(400), keep_ids, 801, jax.random.key(0))
  seen, hidden = filled[:, :800:2], filled[:, 1::2]
  np.testing.assert_allclose((seen == 0).mean(), 0.25, atol=0.03)
  kept = seen != 0
  np.testing.assert_allclose(seen[kept], tokens(400)[kept] / 0.75, rtol=1e-6)
  assert np.all(hidden != 0)


def test_padding_leaks_only_if_it_may():
  x, keep_ids = tokens(3), np.array([[0, 1, 3], [0, 2, 3]])
  longer = np.concatenate([x, tokens(5)[:, 3:]], axis=1)
  more_ids = np.concatenate([keep_ids, [[4, 6], [4, 6]]], axis=1)
  padding = np.broadcast_to(np.arange(7) >= 4, (2, 7))
  for isolate in (True, False):
    decoder, params = make(isolate_padding=isolate)
    one = decoder(params, x, keep_ids, 4, None)
    other = decoder(params, longer, more_ids, 7, None, padding)[:, :4]
    assert np.allclose(one, other, atol=1e-5) == isolate


@pytest.mark.parametrize(
  ("options", "width", "length", "count"),
  [
    ({"grid": (14, 14)}, 768, 196, 2_585_856),
    ({"width": 1024, "layers": 3, "kernel": 5}, 1024, 196, 5_967_872),
    ({"width": 1024, "layers": 3, "kernel": 5}, 1280, 256, 6_639_872),
    ({"width": 384, "layers": 4, "kernel": 7}, 768, 9, 619_776),
    ({"width": 768, "layers": 4, "kernel": 7}, 1024, 9, 1_908_736),
    ({"layers": 5, **TEXT}, 768, 9, 28_907_520),
    ({"layers": 5, **TEXT}, 1024, 9, 31_070_464),
  ],
  ids=str,
)
def test_released_sizes(options, width, length, count):
  if length > 9:
    side = round(length**0.5)
    options = {**options, "grid": (side, side)}
  shapes = jax.eval_shape(
    ConvDecoder(**options).init,
    jax.random.key(0),
    jax.ShapeDtypeStruct((1, length, width), jnp.float32),
  )
  assert sum(np.prod(s.shape) for s in jax.tree.leaves(shapes)) == count


def test_initial_values():
  x = jnp.zeros((1, 5, 64))
  decoder = ConvDecoder(width=128, layers=1, kernel=3, groups=4)
  params = decoder.init(jax.random.key(0), x)
  for leaf, fan_in in (
    (params["conv0"]["kernel"], 48),
    (params["conv0"]["bias"], 48),
    (params["proj1"]["kernel"], 128),
    (params["proj1"]["bias"], 128),
  ):
    bound = fan_in**-0.5
    assert np.abs(leaf).max() <= bound
    np.testing.assert_allclose(leaf.std(), bound / 3**0.5, rtol=0.15)
  decoder = ConvDecoder(width=128, layers=1, **{**TEXT, "kernel": 3})
  params = decoder.init(jax.random.key(0), x)
  for name in ("proj1", "proj2"):
    np.testing.assert_allclose(params[name]["kernel"].std(), 0.02, rtol=0.05)
    assert not params[name]["bias"].any()
  assert params["proj1"]["kernel"].shape == (128, 256)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"layers": 0}, "layers must be 1 or more, got 0"),
    ({"width": 9}, "width 9 is not a multiple of groups 2"),
    ({"input_dropout": 1.0}, r"input_dropout must be in \[0, 1\)"),
    ({"noise_std": -1.0}, "noise_std must be 0 or more, got -1.0"),
    ({"initial": "x"}, "unknown initial 'x'; choose one of: beit"),
    (
      {"groups": 16, "width": 16},
      "groups 16 do not divide the encoder's width",
    ),
    ({"positions": "x"}, "unknown positions 'x'; choose one of: none, h"),
    ({"positions": "all"}, "positions 'all' are those of images; set config"),
    ({"grid": (2, 2)}, r"12 tokens are no grid of \(2, 2\)"),
  ],
)
def test_errors(options, message):
  with pytest.raises(ValueError, match=message):
    make(**options)
