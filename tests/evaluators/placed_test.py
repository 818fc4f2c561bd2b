import numpy as np
import pytest

from d2v_jax.evaluators import placed
from d2v_jax.training.sharding import make_mesh


@pytest.mark.parametrize("rule", ["replicated", "fsdp"])
def test_rows_are_split_in_their_order_and_filled_up(rule):
  x = np.arange(42, dtype=np.float32).reshape(21, 2)
  split = placed.split(x, make_mesh(8, rule), 32)
  parts = sorted(split.addressable_shards, key=lambda part: part.device.id)
  filled = np.concatenate([x, np.zeros((11, 2))])
  for k, part in enumerate(parts):
    # The last two devices have filling alone.
    np.testing.assert_array_equal(part.data, filled[4 * k : 4 * k + 4])


def test_everywhere():
  x = np.arange(6).reshape(2, 3)
  copies = placed.everywhere(x, make_mesh(8)).addressable_shards
  assert len(copies) == 8
  for copy in copies:
    np.testing.assert_array_equal(copy.data, x)


def test_fetched():
  x = np.arange(16.0)
  mesh = make_mesh(8)
  fetched = placed.fetched({"x": placed.split(x, mesh)}, mesh)
  assert isinstance(fetched["x"], np.ndarray)
  np.testing.assert_array_equal(fetched["x"], x)


def test_one_device():
  assert placed.one_device().devices.shape == (1, 1)
