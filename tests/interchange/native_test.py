import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from d2v_jax import pretrained
from d2v_jax.evaluators.features import Features, pool_features
from d2v_jax.interchange import jax_export, native, run
from d2v_jax.interchange.files import to_bytes
from d2v_jax.interchange.model import channels
from d2v_jax.interchange.weights import InterchangeError, flatten
from tests.interchange import small_models

FACTS = {
  "config": {"data": {"source": {"path": "/home/someone"}}},
  "commit": "abc",
  "versions": {"jax": "0.10"},
  "step": 7,
  "metrics": {"knn/accuracy": 0.5},
}


def assert_bit_equal(a, b):
  a, b = flatten(a), flatten(b)
  assert a.keys() == b.keys()
  for path in a:
    assert a[path].dtype == b[path].dtype, path
    assert a[path].tobytes() == b[path].tobytes(), path


# Safetensors.


@pytest.mark.parametrize(("modality", "kind"), small_models.KINDS)
def test_import_of_export_is_the_identity(tmp_path, modality, kind):
  model = small_models.make(modality, kind)
  model = dataclasses.replace(model, description="a small one")
  assert native.write(tmp_path / "out", model, FACTS) == ()
  again = native.read(tmp_path / "out")
  assert_bit_equal(again.params, model.params)
  assert_bit_equal(again.teacher_params, model.teacher_params)
  for name in ("modality", "encoder", "objective", "files", "description"):
    assert getattr(again, name) == getattr(model, name), name
  if modality == "text":
    assert again.data == {"tokenizer": {"path": "tokenizer"}}
  else:
    assert again.data == model.data


def test_it_becomes_a_run(tmp_path):
  """Run -> folder -> run, with all that the folder says of the first."""
  model = small_models.make("text")
  first = run.write(tmp_path / "first", model, {})
  native.write(tmp_path / "out", read_with_files(first, model), FACTS)
  again = native.read(tmp_path / "out")
  second = run.write(tmp_path / "second", again, {})
  assert_bit_equal(run.read(second).params, model.params)
  assert_bit_equal(run.read(second).teacher_params, model.teacher_params)
  assert (second / "tokenizer" / "tokenizer.json").exists()
  for which in ("teacher", "student"):
    one = pretrained.load(first, which, num_devices=1)
    two = pretrained.load(second, which, num_devices=1)
    assert_bit_equal(*(jax.tree.map(np.asarray, x.params) for x in (one, two)))


def read_with_files(workdir, model):
  return dataclasses.replace(run.read(workdir), files=model.files)


def test_what_the_folder_has(tmp_path):
  model = small_models.make("vision")
  model = dataclasses.replace(
    model,
    data={"channels": 3, "source": {"path": "/home/someone"}, "batch_size": 2},
  )
  native.write(tmp_path / "out", model, FACTS)
  assert {p.name for p in (tmp_path / "out").iterdir()} == {
    "d2v_jax.json",
    "weights.safetensors",
  }
  text = (tmp_path / "out" / "d2v_jax.json").read_text()
  content = json.loads(text)
  assert content["data"] == {"channels": 3}
  assert content["origin"] == {k: FACTS[k] for k in FACTS if k != "config"}
  assert "/home" not in text


@pytest.mark.parametrize(
  ("spec", "kept"),
  [
    ({"path": "/home/x"}, {}),
    ({"name": "kjv"}, {"tokenizer": {"name": "kjv"}}),
  ],
)
def test_the_path_of_a_tokenizer_stays_here(tmp_path, spec, kept):
  model = dataclasses.replace(
    small_models.make("text"), files={}, data={"tokenizer": spec}
  )
  native.write(tmp_path / "out", model)
  assert native.read(tmp_path / "out").data == kept


def test_nothing_is_overwritten(tmp_path):
  model = small_models.make("vision")
  (tmp_path / "file").write_text("kept")
  with pytest.raises(ValueError, match="exists and is not empty"):
    native.write(tmp_path, model)
  with pytest.raises(ValueError, match="exists and is not empty"):
    native.write(tmp_path / "file", model)
  assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def exported(tmp_path):
  folder = tmp_path / "exported"
  native.write(folder, small_models.make("text"))
  return folder


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (dict(format="x"), "is not of version 1 of an export to safetensors"),
    (dict(version=2), "is not of version 1"),
    (dict(modality="smell"), "modality is not what export writes"),
    (dict(modality=["text"]), "modality is not what"),
    (dict(encoder=[]), "encoder is not what export writes"),
    (dict(tracked=None), "tracked is not what"),
    (dict(sha256="0" * 64), r"is not the file that d2v_jax\.json belongs to"),
    (dict(tracked=["nonsense"]), "does not describe a model of ours"),
    (dict(tracked=[]), "the teacher in .* does not fit the model"),
    (dict(encoder={"widht": 3}), "encoder.widht: unknown field"),
    (dict(encoder={"width": 32}), "does not fit the model"),
    (dict(encoder={"width": 2**40}), "refused a size of the encoder above"),
    (dict(encoder={"x": [[2**40]]}), "refused a size of the encoder above"),
    (dict(encoder={"width": "wide"}), "encoder.width: got 'wide', but it must"),
    (dict(objective={"name": "magic"}), "objective.name: unknown 'magic'"),
    (dict(objective={}), "does not fit the model"),
    (dict(files=["../outside"]), r"refused the file '\.\./outside'"),
    (dict(files=["/etc/passwd"]), "refused the file '/etc/passwd'"),
    (dict(files=["run.json"]), r"refused the file 'run\.json'"),
    (dict(files=[1]), "refused the file 1"),
    (dict(files=["tokenizer/none"]), "has no file none"),
  ],
)
def test_damaged_configurations(exported, change, message):
  path = exported / "d2v_jax.json"
  content = json.loads(path.read_text())
  if "encoder" in change and isinstance(change["encoder"], dict):
    change = {"encoder": content["encoder"] | change["encoder"]}
  path.write_text(json.dumps(content | change))
  with pytest.raises(InterchangeError, match=message):
    native.read(exported)


def resealed(folder, arrays):
  """Other weights, to which the configuration belongs."""
  weights = to_bytes(arrays)
  (folder / "weights.safetensors").write_bytes(weights)
  path = folder / "d2v_jax.json"
  content = json.loads(path.read_text())
  digest = native.hashlib.sha256(weights).hexdigest()
  path.write_text(json.dumps(content | {"sha256": digest}))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"params/norm/x": np.ones(2, "f4")}, r"unexpected \(1\):\n  norm/x"),
    (
      {"params/embedding_norm/bias": None},
      r"missing \(1\):\n  embedding_norm/bias",
    ),
    (
      {"params/feature_encoder/embedding": np.ones((3, 16), "f4")},
      r"misshapen \(1\):\n  feature_encoder/embedding: \[3, 16\]",
    ),
    ({"optimizer/x": np.ones(2, "f4")}, "is in none of params, teacher_params"),
    ({"params": np.ones(2, "f4")}, "is in none of params, teacher_params"),
  ],
)
def test_wrong_weights(exported, changes, message):
  model = small_models.make("text")
  arrays = {f"params/{k}": v for k, v in flatten(model.params).items()}
  teacher = flatten(model.teacher_params)
  arrays |= {f"teacher_params/{k}": v for k, v in teacher.items()}
  arrays |= changes
  resealed(exported, {k: v for k, v in arrays.items() if v is not None})
  with pytest.raises(InterchangeError, match=message):
    native.read(exported)


def test_cut_off_weights(exported):
  path = exported / "weights.safetensors"
  path.write_bytes(path.read_bytes()[:-1])
  with pytest.raises(InterchangeError, match="is not a whole safetensors file"):
    native.read(exported)
  path.unlink()
  with pytest.raises(InterchangeError, match="has no file weights"):
    native.read(exported)


# jax.export.


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
  [("all", "mean", ", 3"), ((-1, 0), "cls", ""), (None, "cls", "")],
)
def test_layers_and_pooling(runs, tmp_path, layers, pool, width):
  model = load(runs("text"))
  path = tmp_path / "deep" / "features.jax"
  (note,) = jax_export.write(path, model, layers=layers, pool=pool)
  assert note == (
    f"takes int32 [b, n] and gives float32 [b{width}, 16], on cpu, cuda, tpu"
  )
  x = draw("text", 2, 6)
  truth = pool_features(
    model.encoder(model.params, {"inputs": x}),
    Features("teacher", layers, pool),
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
