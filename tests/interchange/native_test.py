"""Plain safetensors and JSON, there and back."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from d2v_jax import pretrained
from d2v_jax.interchange import native, run
from d2v_jax.interchange.files import to_bytes
from d2v_jax.interchange.weights import InterchangeError, flatten
from tests import random_runs
from tests.interchange import small_models
from tests.interchange.folders import assert_bit_equal

FACTS = {
  "config": {"data": {"source": {"path": "/home/someone"}}},
  "commit": "abc",
  "versions": {"jax": "0.10"},
  "step": 7,
  "metrics": {"knn/accuracy": 0.5},
}


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
    data={
      **{"channels": 3, "range": [0, 4095], "background": 255},
      **{"source": {"path": "/home/someone"}, "batch_size": 2},
    },
  )
  native.write(tmp_path / "out", model, FACTS)
  assert {p.name for p in (tmp_path / "out").iterdir()} == {
    "d2v_jax.json",
    "weights.safetensors",
  }
  text = (tmp_path / "out" / "d2v_jax.json").read_text()
  content = json.loads(text)
  kept = {"channels": 3, "range": [0, 4095], "background": 255}
  assert content["data"] == kept
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


def test_spectrograms_keep_their_mean_and_std(tmp_path):
  (tmp_path / "run").mkdir()
  model = run.read(random_runs.save(tmp_path / "run", "spectrogram"))
  model = dataclasses.replace(model, objective={}, teacher_params={})
  native.write(tmp_path / "out", model)
  again = native.read(tmp_path / "out")
  assert_bit_equal(again.params, model.params)
  assert again.data == {"mean": (1.0,), "std": (4.0,)}
