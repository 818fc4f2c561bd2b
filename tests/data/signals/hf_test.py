import numpy as np
import pytest

from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.hf.rows import HfRows
from d2v_jax.data.layout import WaveformInputs
from d2v_jax.data.signals.examples import Signals
from d2v_jax.data.signals.given import signals
from d2v_jax.data.signals.hf import HfSignals, SignalRows
from d2v_jax.data.signals.normalise import Normalisation
from tests.data.hf.sets import hf, make

__all__ = ["hf"]  # a fixture

INPUTS = WaveformInputs(((4, 5, 2),), width=8, rate=10.0, channels=2)


def given(hf):
  """Two of different lengths, a ragged one, and none."""
  rng = np.random.default_rng(0)
  good = [rng.integers(-9, 9, (n, 2)).astype(np.int16) for n in (20, 30)]
  stored = [*(x.tolist() for x in good), [[1, 2], [3]], None]
  lists = hf.List(hf.List(hf.Value("int16")))
  kinds = hf.ClassLabel(names=["walk", "run"])
  columns = {"signal": stored, "label": [1, 0, 0, 1]}
  return good, make(columns, {"signal": lists, "label": kinds})


def test_signals_of_a_file(hf, tmp_path):
  good, dataset = given(hf)
  path = str(tmp_path / "x.parquet")
  dataset.to_parquet(path)
  source = HfSignals(path, "train", rate=10.0)
  assert source.sizes.tolist() == [20, 30, 0, 0]
  assert source.rates.tolist() == [10.0] * 4
  assert source.class_names == ("walk", "run") and source.labels == [1, 0, 0, 1]
  record = source[1]
  np.testing.assert_array_equal(record["signal"], good[1])
  assert record["signal"].dtype == np.int16 and record["label"] == 0
  with pytest.raises(Unreadable, match="its rows differ in length"):
    _ = source[2]
  used = Signals(
    source,
    inputs=INPUTS,
    normalise=Normalisation(2),
    resample=False,
    max_seconds=100.0,
  )
  assert used.lengths.tolist() == [20, 30]
  assert used.unreadable == {
    f"{path}/train[2]": "its rows differ in length, or are missing",
    f"{path}/train[3]": "the row has none",
  }


def test_arrays_of_a_fixed_shape_and_datasets_from_python(hf):
  values = np.random.default_rng(0).standard_normal((3, 6, 2))
  dataset = hf.Dataset.from_dict(
    {"signal": values.tolist()},
    features=hf.Features({"signal": hf.Array2D((6, 2), "float64")}),
  )
  source = signals(dataset, "train")
  assert isinstance(source, SignalRows) and source.labels is None
  assert source.rates.tolist() == [0.0] * 3  # the network's
  np.testing.assert_array_equal(source[2]["signal"], values[2])


def test_what_is_refused(hf):
  _, dataset = given(hf)
  rows = HfRows(dataset, "set")
  with pytest.raises(ValueError, match="has no column 'eeg'; set signal to"):
    SignalRows(rows, signal="eeg")
  with pytest.raises(ValueError, match="'label' is ClassLabel"):
    SignalRows(rows, signal="label")
  flat = make({"signal": [[1.0]]}, {"signal": hf.List(hf.Value("float32"))})
  with pytest.raises(
    Unreadable, match=r"it has float32 \[1\], not numbers \[samples, chan"
  ):
    _ = SignalRows(HfRows(flat, "set"))[0]
  files = make({"signal": [b"x"]}, {"signal": hf.Value("binary")})
  with pytest.raises(
    ValueError, match=r"no signal; it must be numbers \[samples, chan"
  ):
    SignalRows(HfRows(files, "set"))
