"""The feature function in a file."""

import functools

import jax
import numpy as np
import pytest

from d2v_jax import pretrained
from d2v_jax.evaluators.features import Features, pool_features
from d2v_jax.interchange import jax_export, run
from d2v_jax.interchange.model import channels
from d2v_jax.interchange.weights import InterchangeError
from tests import random_runs
from tests.interchange import small_models


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """Modality -> workdir."""

  @functools.cache
  def make(modality):
    # Four convolutions: the number of frames of n samples is a long formula.
    layers = ((8, 10, 5), (8, 3, 2), (8, 3, 2), (8, 2, 2))
    changes = {"conv_layers": layers} if modality == "speech" else {}
    workdir = tmp_path_factory.mktemp("runs") / "run"
    return run.write(workdir, small_models.make(modality, **changes), {})

  return make


def load(workdir, which="teacher", **changes):
  return pretrained.load(workdir, which, num_devices=1, **changes)


def draw(modality, rows, length):
  rng = np.random.default_rng(rows)
  if modality == "vision":
    shape = (rows, length, length, 3)
    return rng.integers(0, 256, shape).astype(np.uint8)
  if modality == "speech":
    return rng.standard_normal((rows, length), np.float32)
  tokens = rng.integers(4, 2000, (rows, length)).astype(np.int32)
  tokens[0, -2:] = 1  # padding
  return tokens


def call(path, x):
  return jax.export.deserialize(bytearray(path.read_bytes())).call(x)


@pytest.mark.parametrize(
  ("modality", "which", "length", "sizes"),
  [
    ("vision", "teacher", None, (16, 16)),
    ("speech", "teacher", 300, (300, 300)),
    ("speech", "teacher", None, (60, 333)),
    ("text", "teacher", 9, (9, 9)),
    ("text", "student", None, (4, 12)),
  ],
)
def test_function(runs, tmp_path, modality, which, length, sizes):
  model = load(runs(modality), which)
  path = tmp_path / "features.jax"
  (note,) = jax_export.write(path, model, length=length)
  assert "and gives float32 [b, 16], on cpu, cuda, tpu" in note
  for rows, size in zip((1, 3), sizes, strict=True):
    x = draw(modality, rows, size)
    np.testing.assert_allclose(call(path, x), model.features(x), 1e-6, 1e-6)


@pytest.mark.parametrize(
  ("layers", "pool", "width"),
  [
    ("all", "mean", ", 3, 16"),
    ((-1, 0), "cls", ", 16"),
    (None, "cls", ", 16"),
    (None, "mean_std", ", 32"),
    (None, "segments:4", ", 64"),
  ],
)
def test_layers_and_pooling(runs, tmp_path, layers, pool, width):
  model = load(runs("text"))
  path = tmp_path / "deep" / "features.jax"
  (note,) = jax_export.write(path, model, layers=layers, pool=pool)
  assert note == (
    f"takes int32 [b, n] and gives float32 [b{width}], on cpu, cuda, tpu"
  )
  x = draw("text", 2, 6)
  truth = pool_features(
    model.encoder(model.params, {"inputs": x}),
    Features("teacher", layers, pool),
    model.encoder.grid,
  )
  np.testing.assert_allclose(call(path, x), truth, 1e-6, 1e-6)


def test_another_image_size(runs, tmp_path):
  model = load(runs("vision"), encoder={"image_size": 24})
  (note,) = jax_export.write(tmp_path / "f", model)
  assert note.startswith("takes uint8 [b, 24, 24, 3] and")
  x = draw("vision", 2, 24)
  np.testing.assert_allclose(
    call(tmp_path / "f", x), model.features(x), 1e-6, 1e-6
  )


def test_cells(runs, tmp_path):
  model = load(runs("vision"))
  jax_export.write(tmp_path / "f", model, pool="cells:2")
  x = draw("vision", 2, 16)
  got = call(tmp_path / "f", x)
  np.testing.assert_allclose(got, model.features(x, pool="cells:2"), 1e-6, 1e-6)
  assert got.shape[1] == 64
  with pytest.raises(ValueError, match="is for tokens in time; of images tak"):
    jax_export.write(tmp_path / "g", model, pool="segments:2")


def test_errors_of_the_function(runs, tmp_path):
  path = tmp_path / "f"
  text = load(runs("text"))
  with pytest.raises(ValueError, match="layer 5 is out of range"):
    jax_export.write(path, text, layers=(5,))
  with pytest.raises(ValueError, match=r"must be 1 to 12 \(tokens\), got 13"):
    jax_export.write(path, text, length=13)
  with pytest.raises(ValueError, match=r"must be 60 to any more .*, got 59"):
    jax_export.write(path, load(runs("speech")), length=59)
  with pytest.raises(ValueError, match="images have no length"):
    jax_export.write(path, load(runs("vision")), length=5)
  assert not path.exists()
  path.write_text("kept")
  with pytest.raises(InterchangeError, match="exists; nothing is overwritten"):
    jax_export.write(path, text)
  jax_export.write(tmp_path / "g", text)
  with pytest.raises(ValueError, match="shapes"):
    call(tmp_path / "g", draw("text", 2, 13))


def test_no_place_for_images():
  with pytest.raises(InterchangeError, match=r"multiple of 16 rows.*got none"):
    channels(4, {})


def test_spectrograms(tmp_path):
  workdir = random_runs.save(tmp_path, "spectrogram")
  model = load(workdir)
  path = tmp_path / "features.jax"
  (note,) = jax_export.write(path, model)
  assert "takes float32 [b, 24, 16, 1] and gives float32 [b, 16]" in note
  x = np.random.default_rng(0).normal(size=(3, 24, 16, 1)).astype(np.float32)
  np.testing.assert_allclose(call(path, x), model.features(x), 1e-6, 1e-6)
