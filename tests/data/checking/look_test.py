import numpy as np
import pytest

from d2v_jax.data.checking.look import at_anything, digest


def test_contents_are_told_apart():
  zeros = np.zeros((2, 3), np.uint8)
  contents = [
    [zeros],
    [zeros.reshape(3, 2)],
    [zeros.astype(np.int8)],
    ["ab", "c"],
    ["a", "bc"],
    [b"ab", b"c"],
    [],
  ]
  assert len({digest(x) for x in contents}) == len(contents)
  # Not how it lies in memory.
  columns = np.arange(6).reshape(2, 3)
  assert digest([columns.T]) == digest([columns.T.copy()])


def test_a_record_of_any_kind():
  signal = np.arange(12, dtype=np.float32).reshape(6, 2)
  record = {"signal": signal, "rate": 50, "label": 3}
  look = at_anything(record)
  assert look.numbers == {"signal, length": 6}
  assert look.kinds == {"signal": "float32 x 2"}
  assert (look.oddity, look.moments) == ("", None)
  # What it is called, and where it stands, is not what it is.
  same = {**record, "label": 1, "requested": 0, "record": 0}
  assert at_anything(same).digest == look.digest
  assert at_anything({**record, "rate": 51}).digest != look.digest


@pytest.mark.parametrize(
  ("values", "oddity"),
  [
    ([1.0, np.nan], "not all values are finite"),
    ([2.0, 2.0], "one value all over"),
    ([2], ""),
  ],
)
def test_odd_values(values, oddity):
  assert at_anything({"x": np.array(values)}).oddity == oddity
