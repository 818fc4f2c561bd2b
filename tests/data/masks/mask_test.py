import numpy as np

from d2v_jax.data.masks.mask import keep_ids


def test_keep_ids_are_ascending_and_end_in_padding():
  mask = np.array(
    [
      [True, False, True, False, False, False],
      [False, True, True, False, False, False],
    ]
  )
  for visible, expected in (
    (2, [[1, 3], [0, 3]]),
    (4, [[1, 3, 4, 5], [0, 3, 4, 5]]),
  ):
    ids = keep_ids(mask, visible)
    assert ids.dtype == np.int32
    assert ids.tolist() == expected
