import numpy as np
import pytest

from d2v_jax.data.layout import WaveformInputs
from d2v_jax.data.signals.arrays import SignalArrays
from d2v_jax.data.signals.examples import Signals
from d2v_jax.data.signals.normalise import Normalisation

INPUTS = WaveformInputs(((4, 5, 2),), width=8, rate=10.0, channels=2)


def signals(*lengths, channels=2):
  rng = np.random.default_rng(0)
  return [rng.normal(3, 2, (n, channels)) for n in lengths]


def usable(arrays, rate=None, **options):
  source = SignalArrays(arrays, "given", rate=rate)
  options = {"resample": False, "max_seconds": 100.0, **options}
  return Signals(source, inputs=INPUTS, normalise=Normalisation(2), **options)


def test_examples_are_normalised_signals(caplog):
  given = signals(20, 4, 30, 12)
  found = usable({"signal": given, "label": [0, 1, 2, 1]}, min_seconds=1.0)
  assert found.lengths.tolist() == [20, 30, 12]  # 4 samples make no frame
  assert set(found[1]) == {"samples", "label", "requested", "record"}
  assert found[1]["label"] == 2
  np.testing.assert_array_equal(found[1]["samples"], Normalisation(2)(given[2]))
  assert (
    "Signals: left out 1 of 4 signals, 6 % of all samples: 1 too short for one "
    "frame (the first is given[1])"
  ) in caplog.text
  assert usable({"signal": given}, max_seconds=2.0).lengths.tolist() == [20, 12]
  short = usable({"signal": given}, min_seconds=2.5)
  assert short.lengths.tolist() == [30]


def test_missing_values_are_refused_and_named():
  given = signals(20, 20)
  given[0][7:9, 1] = np.nan
  found = usable({"signal": given})
  assert (found[0]["requested"], found[0]["record"]) == (0, 1)
  assert found.problem(0) == (
    "2 of its values are missing or infinite, the first at sample 7 of channel "
    "1; fill them, or cut the recording there"
  )
  assert found.problem(1) is None
  given[1][0, 0] = np.inf
  with pytest.raises(ValueError, match=r"none of the 2 signals can be used"):
    _ = usable({"signal": given})[0]


def test_another_rate_is_refused_or_converted():
  given = {"signal": signals(40)}
  message = "given.0. has 20 samples per second, .* the encoder's 10; set con"
  with pytest.raises(ValueError, match=message):
    usable(given, rate=20.0)
  assert usable(given, rate=10.0).lengths.tolist() == [40]
  made = usable(given, rate=20.0, resample=True)
  assert made.lengths.tolist() == [20] and len(made[0]["samples"]) == 20


def test_other_channels_are_refused():
  with pytest.raises(ValueError, match="it has 3 channels, and the encoder 2;"):
    usable({"signal": signals(20, channels=3)})
  with pytest.raises(ValueError, match=r"put the channels last, as x.T does"):
    usable({"signal": [x.T for x in signals(20)]})
  # A single one is passed over.
  mixed = usable({"signal": [*signals(20), *signals(20, channels=3)]})
  assert mixed[1]["record"] == 0 and "it has 3 channels" in mixed.problem(1)
