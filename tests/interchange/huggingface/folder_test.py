"""Folders of Hugging Face, there and back."""

import dataclasses
import json

import numpy as np
import pytest

from d2v_jax import config as config_lib
from d2v_jax.data.text import tokenizer
from d2v_jax.interchange.huggingface import folder as huggingface
from d2v_jax.interchange.weights import InterchangeError
from d2v_jax.modalities import MODALITIES
from tests.interchange import small_models
from tests.interchange.folders import (
  assert_bit_equal,
  edit,
  save,
  weights,
)


@pytest.mark.parametrize("which", huggingface.MODELS)
@pytest.mark.parametrize(
  "modality, kind", [*small_models.KINDS, *small_models.SECOND]
)
def test_import_of_export_is_the_identity(tmp_path, modality, kind, which):
  model = small_models.make(modality, kind)
  folder = tmp_path / "folder"
  huggingface.write(folder, model, which)
  back = huggingface.read(folder)
  assert_bit_equal(back.params, model.params)
  assert_bit_equal(back.teacher_params, model.teacher_params)
  assert back.encoder == config_lib.plain(model.encoder)
  assert back.objective == config_lib.plain(model.objective)
  assert back.modality == modality
  if model.data:
    assert back.data["labels"] == model.data["labels"]
  if modality == "text":
    tokenizers = []
    for name, run in (("a", model), ("b", back)):
      assert run.files.keys() == {"tokenizer/tokenizer.json"}
      (tmp_path / name).write_bytes(run.files["tokenizer/tokenizer.json"])
      tokenizers.append(tokenizer.load(tmp_path / name).fingerprint)
    assert tokenizers[0] == tokenizers[1]
    assert back.data["tokenizer"] == {"path": "tokenizer"}


def run_encoder(model, params, batch):
  encoders = MODALITIES[model.modality].encoders
  network = config_lib.build(model.encoder, encoders, "encoder")
  return network(params, batch)


@pytest.mark.parametrize(
  "modality, kind, batch",
  [
    ("vision", "sincos", np.ones((1, 16, 16, 3), np.float32)),
    ("vision", "no final norm", np.ones((1, 16, 16, 3), np.float32)),
    ("speech", "biases", np.sin(np.arange(300, dtype=np.float32))[None]),
    ("text", "fixed positions", np.array([[0, 7, 9, 2, 1, 1]], np.int32)),
  ],
)
def test_the_files_of_hugging_face_alone_compute_the_same(
  exported, modality, kind, batch
):
  model = small_models.make(modality, kind)
  back = huggingface.read(exported(modality, kind))
  assert back.objective == {} and back.teacher_params == {}
  teacher = {**model.params, **model.teacher_params}
  ours, theirs = (
    run_encoder(m, p, {"inputs": batch})
    for m, p in ((model, teacher), (back, back.params))
  )
  np.testing.assert_allclose(ours.block, theirs.block, atol=1e-6)
  np.testing.assert_allclose(ours.tokens, theirs.tokens, atol=1e-6)


def test_student_and_teacher(tmp_path):
  model = small_models.make("speech")
  kernel = "encoder.layers.0.feed_forward.output_dense.weight"
  for which, tree in (
    ("student", model.params),
    ("teacher", model.teacher_params),
  ):
    huggingface.write(tmp_path / which, model, which)
    found = weights(tmp_path / which)[kernel]
    expected = tree["blocks"]["mlp"]["fc2"]["kernel"][0].T
    np.testing.assert_array_equal(found, expected)
  with pytest.raises(InterchangeError, match="'both'; choose one of: teacher"):
    huggingface.write(tmp_path / "both", model, "both")


def test_a_prefix_of_the_task_is_no_matter(exported):
  folder = exported("vision")
  plain = huggingface.read(folder)
  arrays = weights(folder)
  save(folder, {f"data2vec_vision.{k}": v for k, v in arrays.items()})
  assert_bit_equal(huggingface.read(folder).params, plain.params)
  save(folder, arrays | {"data2vec_vision.layernorm.bias": np.zeros(16)})
  with pytest.raises(InterchangeError, match="with and without data2vec_visio"):
    huggingface.read(folder)


def test_buffers_are_ignored(exported):
  folder = exported("text")
  plain = huggingface.read(folder)
  arrays = weights(folder)
  save(folder, arrays | {"embeddings.position_ids": np.arange(14)[None]})
  assert_bit_equal(huggingface.read(folder).params, plain.params)


@pytest.mark.parametrize(
  "modality, fields, message",
  [
    ("vision", {"hidden_act": "relu"}, "hidden_act='relu': .* has only 'gelu'"),
    ("vision", {"hidden_size": "16"}, "hidden_size='16': .* integer of 1"),
    ("vision", {"hidden_size": -4}, "hidden_size=-4"),
    ("vision", {"image_size": [16, 32]}, r"image_size=\[16, 32\].* the same"),
    ("vision", {"image_size": 10**6}, "image_size=1000000: .* 384, or two"),
    ("vision", {"use_mean_pooling": 1}, "use_mean_pooling=1: .* True or False"),
    ("vision", {"drop_path_rate": 1.0}, "drop_path_rate=1.0: .* below 1"),
    (
      "vision",
      {"model_type": "swin"},
      "model_type='swin': .* 'data2vec-audio'",
    ),
    ("vision", {"architectures": ["X"]}, "'X'.* Data2VecVisionForImageClassi"),
    (
      "vision",
      {"auto_map": {"AutoModel": "x.Y"}},
      "auto_map=.*code of its own is never run",
    ),
    ("vision", {"pruned_heads": {"0": [1]}}, "pruned_heads="),
    (
      "vision",
      {"use_absolute_position_embeddings": True},
      "use_shared_relative_position_bias=True: .* has only False",
    ),
    ("speech", {"feat_extract_activation": "relu"}, "feat_extract_activation"),
    ("speech", {"add_adapter": True}, "add_adapter=True: .* has only False"),
    ("speech", {"num_conv_pos_embeddings": 1}, "num_conv_pos_embeddings=1"),
    ("speech", {"conv_kernel": [10]}, r"conv_kernel=\[10\]: .* as in conv_dim"),
    ("speech", {"conv_dim": ["8", 8]}, "conv_dim=.* a list of integers"),
    (
      "speech",
      {"conv_stride": [4096, 4096]},
      "conv_stride=.* with a product of",
    ),
    ("text", {"pad_token_id": 0}, "pad_token_id=0: .* has only 1"),
    ("text", {"is_decoder": True}, "is_decoder=True"),
    ("text", {"position_embedding_type": "relative_key"}, "'relative_key'"),
    ("text", {"max_position_embeddings": 2}, "max_position_embeddings=2"),
    ("text", {"type_vocab_size": 2}, r"token_type_.* is \[1, 16\], expected"),
  ],
)
def test_fields_are_refused_by_name_and_value(
  exported, modality, fields, message
):
  folder = exported(modality)
  edit(folder, **fields)
  with pytest.raises(InterchangeError, match=message):
    huggingface.read(folder)


def test_token_types_go_into_the_words(exported):
  folder = exported("text")
  arrays = weights(folder)
  types = np.random.default_rng(0).standard_normal((2, 16)).astype("f4")
  name = "embeddings.token_type_embeddings.weight"
  save(folder, arrays | {name: types})
  edit(folder, type_vocab_size=2)
  model = huggingface.read(folder)
  words = arrays["embeddings.word_embeddings.weight"]
  expected = np.where(np.arange(2000)[:, None] == 1, words, words + types[0])
  found = model.params["feature_encoder"]["embedding"]
  np.testing.assert_array_equal(found, expected)
  assert "1 more token types were left out" in model.notes
  del arrays[name]
  save(folder, arrays)
  with pytest.raises(InterchangeError, match="must be two tables"):
    huggingface.read(folder)


def test_classifiers_of_several_labels(exported):
  """Theirs has the same weights, and the config says what they mean."""
  folder = exported("text", "classification")
  edit(folder, problem_type="multi_label_classification")
  model = huggingface.read(folder)
  assert model.objective["name"] == "multi_label"
  assert model.data["labels"] == {"name": "class_sets", "num_classes": 4}
  edit(folder, problem_type="ranking")
  with pytest.raises(InterchangeError, match="problem_type='ranking'"):
    huggingface.read(folder)
  edit(folder, problem_type=None, id2label=["a"])
  with pytest.raises(InterchangeError, match="id2label="):
    huggingface.read(folder)


@pytest.mark.parametrize("modality", ["vision", "speech", "text"])
def test_names_of_classes(tmp_path, modality):
  model = small_models.make(modality, "classification")
  count = model.objective["head"]["num_outputs"]
  names = ("pos", "neg", "7", "Ö")[:count]
  model.data["classes"] = names
  huggingface.write(tmp_path / "a", model)
  config = json.loads((tmp_path / "a/config.json").read_text())
  assert config["id2label"] == {str(i): x for i, x in enumerate(names)}
  assert config["label2id"] == {x: i for i, x in enumerate(names)}
  for name in ("d2v_jax.json", "d2v_jax.safetensors"):
    (tmp_path / "a" / name).unlink()
  assert huggingface.read(tmp_path / "a").data["classes"] == names
  nameless = {str(i): f"LABEL_{i}" for i in range(count)}
  edit(tmp_path / "a", id2label=nameless)
  assert "classes" not in huggingface.read(tmp_path / "a").data
  for wrong, message in (
    (nameless | {"0": "LABEL_1"}, "two outputs have one name"),
    ({f"x{k}": v for k, v in nameless.items()}, "names for each of the numb"),
  ):
    edit(tmp_path / "a", id2label=wrong)
    with pytest.raises(InterchangeError, match=message):
      huggingface.read(tmp_path / "a")
  model.data["classes"] = names[:-1]
  with pytest.raises(InterchangeError, match=r"config.data.classes=.* outputs"):
    huggingface.write(tmp_path / "b", model)


def test_other_files_that_change_the_weights(exported):
  folder = exported("text")
  edit(folder, quantization_config={"bits": 4})
  with pytest.raises(InterchangeError, match=r"quantization_config=.* floats"):
    huggingface.read(folder)
  edit(folder, quantization_config=None)
  (folder / "adapter_config.json").write_text("{}")
  with pytest.raises(InterchangeError, match="adapters to the weights"):
    huggingface.read(folder)


@pytest.mark.parametrize(
  "modality, changes, message",
  [
    (
      "vision",
      {"cls_token": False},
      "config.encoder.cls_token=False cannot be",
    ),
    ("vision", {"pre_norm": False}, "config.encoder.pre_norm=False"),
    ("speech", {"conv_norm": "group"}, "config.encoder.conv_norm='group'"),
    ("speech", {"pre_norm": True}, "config.encoder.pre_norm=True"),
    ("text", {"embedding_norm": False}, "config.encoder.embedding_norm=False"),
    ("text", {"pre_norm": True}, "config.encoder.pre_norm=True"),
    (
      "speech",
      {"name": "visible_speech", "conv_norm": "group"},
      "config.encoder.conv_norm='group'",
    ),
  ],
)
def test_what_cannot_be_expressed(tmp_path, modality, changes, message):
  model = small_models.make(modality, **changes)
  with pytest.raises(InterchangeError, match=message) as error:
    huggingface.write(tmp_path / "folder", model)
  assert "--format=safetensors" in str(error.value)
  assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
  "modality, head, message",
  [
    ("vision", {"norm": False}, "config.objective.head.norm=False"),
    ("vision", {"pool": "first"}, "config.objective.head.pool='first'"),
    ("speech", {"hidden": True}, "config.objective.head.hidden=True"),
    ("text", {"pool": "mean"}, "config.objective.head.pool='mean'"),
  ],
)
def test_heads_that_cannot_be_expressed(tmp_path, modality, head, message):
  model = small_models.make(modality, "classification")
  model.objective["head"] = {**model.objective["head"], **head}
  with pytest.raises(InterchangeError, match=message):
    huggingface.write(tmp_path / "folder", model)


def test_nothing_is_overwritten(tmp_path):
  (tmp_path / "mine.txt").write_text("")
  with pytest.raises(InterchangeError, match="exists and is not empty"):
    huggingface.write(tmp_path, small_models.make("vision"))
  with pytest.raises(InterchangeError, match="exists and is not empty"):
    huggingface.write(tmp_path / "mine.txt", small_models.make("vision"))


def test_isolated_padding_is_noted(tmp_path):
  notes = huggingface.write(tmp_path / "a", small_models.make("speech"))
  assert "one by one" in notes[0]
  assert notes[0] in (tmp_path / "a/README.md").read_text()
  assert (
    huggingface.write(tmp_path / "b", small_models.make("speech", "ctc")) == ()
  )


def test_the_range_of_images_is_noted_and_comes_back(tmp_path):
  model = small_models.make("vision")
  data = {"channels": 3, "range": (0, 4095), "background": 0}
  model = dataclasses.replace(model, data=data)
  notes = huggingface.write(tmp_path / "a", model)
  assert "images: bring the values 0 to 4095 to 0 to 255, 8 bits" in notes[-1]
  assert notes[-1] in (tmp_path / "a/README.md").read_text()
  assert huggingface.read(tmp_path / "a").data == data
