"""Positions of patches, frames and tokens against the reference."""

import functools
import re

import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.data.layout import PAD, num_frames
from d2v_jax.models import positions
from d2v_jax.models.attention.attention_bias import AttentionBias, coordinates
from d2v_jax.models.token_embedding import token_positions
from tests.goldens.pure import Group, Pure
from tests.goldens.speech import conv_layers


def _parse(case: Pure, pattern: str) -> dict[str, str]:
  """The settings that the name of a member is made of."""
  match = re.fullmatch(pattern, case.member)
  if match is None:
    pytest.skip(f"{case.group}/{case.member}: no such setting is known here")
  return match.groupdict()


def _relative(case: Pure) -> None:
  size = _parse(case, r"(?P<rows>\d+)x(?P<columns>\d+)")
  grid = int(size["rows"]), int(size["columns"])
  index = positions.relative_position_index(grid)
  np.testing.assert_array_equal(index, case.golden["index"])
  table = case.golden["table"]
  module = positions.RelativePositionBias(grid, table.shape[1], True)
  bias = module.apply({"params": {"table": table}})
  if "bias" in case.golden:  # of large grids only the index is stored
    np.testing.assert_array_equal(bias, case.golden["bias"])


def _sincos(case: Pure) -> None:
  size = _parse(case, r"dim(?P<width>\d+)_grid(?P<side>\d+)")
  grid = (int(size["side"]),) * 2
  ours = positions.sincos_positions(grid, int(size["width"]))
  np.testing.assert_allclose(ours, case.golden[""], rtol=0, atol=1e-6)


def _sinusoidal(case: Pure) -> None:
  expected = case.golden["weights"]
  table = positions.sinusoidal_positions(*expected.shape)
  table[PAD] = 0.0  # as the text encoder does
  np.testing.assert_allclose(table, expected, rtol=0, atol=1e-6)


def _alibi(case: Pure, *, dims: int) -> None:
  name = _parse(case, r"heads(?P<heads>\d+)(_(?P<distance>\w+))?")
  built = (None, "manhattan") if dims == 2 else (None,)
  if name["distance"] not in built:
    pytest.skip(f"option alibi_distance={name['distance']!r}: not built here")
  value = case.golden[""]
  length = value.shape[-1]
  grid = (round(length**0.5),) * 2 if dims == 2 else ()
  slopes = positions.alibi_slopes(int(name["heads"]))
  ours = AttentionBias(
    coordinates=coordinates(jnp.arange(length)[None], grid),
    slopes=jnp.asarray(slopes, jnp.float32),
  ).dense()
  np.testing.assert_allclose(ours[0], value, rtol=1e-6)


def _token_positions(case: Pure) -> None:
  padding = jnp.asarray(case.golden["tokens"] == PAD)
  np.testing.assert_array_equal(
    token_positions(padding), case.golden["positions"]
  )


def _num_frames(case: Pure) -> None:
  layers = conv_layers(case.meta["configs"][f"convlen/{case.member}"])
  frames = num_frames(case.golden["in"], layers)
  np.testing.assert_array_equal(frames, case.golden["out"])


GROUPS = {
  "relpos": Group(_relative),
  "sincos2d": Group(_sincos),
  "sinusoidal": Group(_sinusoidal, single=True),
  "alibi1d": Group(functools.partial(_alibi, dims=1)),
  "alibi2d": Group(functools.partial(_alibi, dims=2)),
  "make_positions": Group(_token_positions, single=True),
  "convlen": Group(_num_frames),
}
