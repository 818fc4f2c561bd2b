import numpy as np
import pytest

from d2v_jax.data.signals.arrays import SignalArrayFiles, SignalArrays

RNG = np.random.default_rng(0)
RAGGED = [RNG.normal(size=(n, 3)) for n in (9, 5, 7)]
LENGTHS = np.array([9, 5, 7])


def test_the_same_signals_in_each_form(tmp_path):
  joined = np.concatenate(RAGGED)
  filled = np.zeros((3, 9, 3))
  for row, signal in zip(filled, RAGGED, strict=True):
    row[: len(signal)] = signal
  np.savez(
    tmp_path / "a.npz", signal=joined, length=LENGTHS, label=["b", "a", "b"]
  )
  sources = [
    SignalArrays({"signal": RAGGED}, "given"),
    SignalArrays({"signal": joined, "length": LENGTHS}, "given", rate=50.0),
    SignalArrays({"signal": filled, "length": LENGTHS}, "given", rate=50.0),
    SignalArrayFiles(str(tmp_path / "a.npz"), rate=50.0),
  ]
  for source in sources:
    assert source.sizes.tolist() == [9, 5, 7]
    for i, signal in enumerate(RAGGED):
      np.testing.assert_array_equal(source[i]["signal"], signal)
  assert sources[0].rates.tolist() == [0, 0, 0]
  assert sources[1].rates.tolist() == [50, 50, 50]
  assert sources[3].class_names == ("a", "b")
  assert [sources[3][i]["label"] for i in range(3)] == [1, 0, 1]
  assert sources[3].record_name(2) == f"{tmp_path / 'a.npz'}[2]"


@pytest.mark.parametrize(
  ("arrays", "message"),
  [
    ({"x": RAGGED}, "there is no array 'signal', only x; set signal to one"),
    ({"signal": np.ones(5)}, r"shape \[5\]; it must be \[n, samples, channels"),
    ({"signal": [np.ones(5)]}, r"of one channel add the axis: x\[..., None\]"),
    ({"signal": RAGGED[0]}, r"one row of 9 samples, with no lengths; .* or"),
    ({"signal": np.ones((2, 5, 3), bool)}, "type bool; it must be integers or"),
    ({"signal": RAGGED, "label": [1]}, "all as many, at least 1"),
  ],
)
def test_what_is_refused(arrays, message):
  with pytest.raises(ValueError, match=message):
    SignalArrays(arrays, "given")


def test_a_rate_that_is_none():
  with pytest.raises(ValueError, match="rate must be above 0, got -1"):
    SignalArrays({"signal": RAGGED}, "given", rate=-1.0)
