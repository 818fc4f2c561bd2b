import pickle
import zipfile

import numpy as np
import pytest

from d2v_jax.data.array_files import ArrayFiles

ARRAYS = {
  "image": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
  "scores": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
  "text": np.array(["é", "longer"]),
}


def check(files):
  assert set(files) == set(ARRAYS) and len(files) == 3
  for name, array in ARRAYS.items():
    np.testing.assert_array_equal(files[name], array)
    assert files[name].dtype == array.dtype


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(save, tmp_path):
  save(tmp_path / "x.npz", **ARRAYS)
  files = ArrayFiles(tmp_path / "x.npz", "image", "Owner")
  check(files)
  mapped = [isinstance(files[name], np.memmap) for name in files]
  assert mapped == [save is np.savez] * 3
  # Another process reads the file, and is not sent what is in it.
  sent = pickle.dumps(files)
  assert len(sent) < 300
  check(pickle.loads(sent))


def test_npy_and_folders_of_them(tmp_path):
  for name, array in ARRAYS.items():
    np.save(tmp_path / f"{name}.npy", array)
  check(ArrayFiles(tmp_path, "image", "Owner"))
  one = ArrayFiles(tmp_path / "scores.npy", "audio", "Owner")
  assert list(one) == ["audio"] and isinstance(one["audio"], np.memmap)
  np.testing.assert_array_equal(one["audio"], ARRAYS["scores"])


def test_errors(tmp_path):
  def refused(name, message):
    with pytest.raises(ValueError, match=message):
      ArrayFiles(tmp_path / name, "image", "Owner")

  refused("gone.npz", r"Owner: no such file or folder: .*gone.npz")
  refused("", r"Owner: no .npy files in the folder .* such as image.npy")
  (tmp_path / "x.txt").write_text("1 2")
  refused("x.txt", r"Owner: .*x.txt' must end in one of: .npy, .npz, or be a f")
  objects = np.array([[1], "a"], object)
  np.save(tmp_path / "a.npy", objects)
  np.savez(tmp_path / "a.npz", image=objects)
  np.savez_compressed(tmp_path / "b.npz", image=objects)
  for name in ("a.npy", "a.npz", "b.npz"):
    refused(name, f"Owner: .*{name} holds Python objects, which are not read")
  for name in ("x.npy", "x.npz"):
    (tmp_path / name).write_bytes(b"no array")
    refused(name, f"Owner: cannot read .*{name}: ")
  with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
    archive.writestr("image.npy", b"no array")
  refused("y.npz", r"Owner: cannot read .*y.npz: ")
  np.savez(tmp_path / "x.npz", **ARRAYS)
  whole = (tmp_path / "x.npz").read_bytes()
  (tmp_path / "x.npz").write_bytes(whole[:-200])
  refused("x.npz", r"Owner: cannot read .*x.npz: ")
