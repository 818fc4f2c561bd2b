import numpy as np
import pytest

from d2v_jax.data.speech.arrays import AudioArrayFiles, AudioArrays
from d2v_jax.data.speech.examples import Utterances
from tests.data.speech.recordings import sine

ROWS = np.stack([sine(3000, 8000, f) for f in (200, 300)]).astype(np.float32)
WHOLE = np.rint(ROWS * 2**15).astype(np.int16)


def test_three_ways_to_store_the_same(tmp_path):
  lengths = np.array([2000, 3000])
  filled = np.where(np.arange(3000) < lengths[:, None], ROWS, 0)
  ragged = [ROWS[0, :2000], ROWS[1]]
  np.savez(tmp_path / "a.npz", audio=filled, length=lengths)
  np.savez(tmp_path / "b.npz", audio=np.concatenate(ragged), length=lengths)
  sources = [
    AudioArrayFiles(str(tmp_path / "a.npz"), rate=8000),
    AudioArrayFiles(str(tmp_path / "b.npz"), rate=8000),
    AudioArrays({"audio": ragged}, "given", rate=8000),
  ]
  for source in sources:
    # At 16 kHz they have twice as many samples.
    np.testing.assert_array_equal(source.lengths(16_000), 2 * lengths)
    for i in range(2):
      assert source[i]["rate"] == 8000
      np.testing.assert_array_equal(source[i]["audio"], ragged[i])
    assert source.texts() is None and source.class_names == ()
  assert sources[0].record_name(1) == f"{tmp_path / 'a.npz'}[1]"


def test_labels_texts_and_16_bits(tmp_path):
  for name, array in {
    "audio": WHOLE,
    "label": ["no", "yes"],
    "text": ["NO", ""],
  }.items():
    np.save(tmp_path / f"{name}.npy", array)
  source = AudioArrayFiles(str(tmp_path), rate=16_000)
  assert source.class_names == ("no", "yes") and source.texts() == ["NO", ""]
  assert source[0]["text"] == "NO" and "text" not in source[1]
  np.testing.assert_allclose(source[1]["audio"], ROWS[1], atol=2**-15)
  used = Utterances(source)
  assert len(used) == 2 and used[1]["label"] == 1
  assert abs(used[1]["samples"].std() - 1) < 1e-3


@pytest.mark.parametrize(
  ("arrays", "message"),
  [
    (
      {"audio": WHOLE.astype(np.int32)},
      "type int32; it must be floats of full",
    ),
    ({"audio": [ROWS[0], WHOLE[0] > 0]}, "'audio' has the type bool"),
    (
      {"audio": ROWS[None]},
      r"shape \[1, 2, 3000\]; recordings have one channel",
    ),
    ({"audio": [ROWS]}, r"shape \[2, 3000\]; recordings have one channel"),
    (
      {"audio": ROWS[0]},
      r"one row of 3000 samples, with no lengths; give an ar",
    ),
    ({"audio": ROWS[0], "length": [5, 6]}, "3000 samples, with lengths of 11;"),
    (
      {"audio": ROWS, "length": [9, 3001]},
      "recording 1 has the length 3001, bu",
    ),
    (
      {"audio": ROWS, "length": [9.0, 1.0]},
      r"must be whole numbers \[n\], got f",
    ),
    ({"audio": ROWS, "length": [9]}, "all as many, at least 1"),
    ({"audio": ROWS, "text": [1, 2]}, "'text', row 0, must be text, got int"),
    ({"sound": ROWS}, "no array 'audio', only sound; set audio to one of them"),
  ],
)
def test_errors(arrays, message):
  with pytest.raises(ValueError, match=message):
    AudioArrays(arrays, "given", rate=8000)
  with pytest.raises(ValueError, match="rate must be above 0, got 0"):
    AudioArrays({"audio": ROWS}, "given", rate=0)
