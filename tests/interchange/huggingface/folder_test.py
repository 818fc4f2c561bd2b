import functools
import json
import shutil

import jax
import numpy as np
import pytest
from etils import epath

from d2v_jax import config as config_lib
from d2v_jax.data.text import tokenizer
from d2v_jax.interchange import files
from d2v_jax.interchange.huggingface import folder as huggingface
from d2v_jax.interchange.huggingface import text_tokenizer
from d2v_jax.interchange.weights import InterchangeError, flatten
from d2v_jax.modalities import MODALITIES
from tests.interchange import small_models

OURS = ("d2v_jax.json", "d2v_jax.safetensors")


def assert_bit_equal(a, b):
  a, b = flatten(a), flatten(b)
  assert a.keys() == b.keys()
  for path in a:
    assert a[path].dtype == b[path].dtype, path
    assert a[path].tobytes() == b[path].tobytes(), path


def edit(folder, name="config.json", **fields):
  path = folder / name
  content = json.loads(path.read_text())
  path.write_text(json.dumps({**content, **fields}))


def weights(folder, name="model.safetensors"):
  return files.Folder(epath.Path(folder)).arrays(name)


def save(folder, arrays, name="model.safetensors"):
  (folder / name).write_bytes(files.to_bytes(arrays))


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
  """(modality, kind) -> folder with the files of Hugging Face alone."""

  @functools.cache
  def make(modality, kind):
    folder = tmp_path_factory.mktemp("originals") / "folder"
    huggingface.write(folder, small_models.make(modality, kind))
    for name in OURS:
      (folder / name).unlink()
    return folder

  return make


@pytest.fixture
def exported(tmp_path, originals):
  """The same, to be spoiled."""

  def copy(modality, kind="pretrained"):
    return shutil.copytree(originals(modality, kind), tmp_path / "exported")

  return copy


@pytest.mark.parametrize("which", huggingface.MODELS)
@pytest.mark.parametrize("modality, kind", small_models.KINDS)
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


def test_shards(exported):
  folder = exported("speech")
  plain = huggingface.read(folder)
  arrays = weights(folder)
  (folder / "model.safetensors").unlink()
  names, table = sorted(arrays), {}
  for i in range(2):
    shard = f"model-{i}.safetensors"
    save(folder, {k: arrays[k] for k in names[i::2]}, shard)
    table |= dict.fromkeys(names[i::2], shard)
  index = folder / "model.safetensors.index.json"
  index.write_text(json.dumps({"weight_map": table}))
  assert_bit_equal(huggingface.read(folder).params, plain.params)

  index.write_text(json.dumps({"weight_map": {**table, "more": shard}}))
  with pytest.raises(InterchangeError, match=r"differ in 1 weights.* more"):
    huggingface.read(folder)
  for outside in ("../secret", "/etc/passwd", "..", "a\\b", ""):
    index.write_text(json.dumps({"weight_map": {"x": outside}}))
    with pytest.raises(InterchangeError, match="not the name of a file in the"):
      huggingface.read(folder)
  index.write_text(json.dumps({"weight_map": {"x": 3}}))
  with pytest.raises(InterchangeError, match="must map names to files"):
    huggingface.read(folder)


def test_links_may_not_leave_the_folder(exported, tmp_path):
  folder = exported("speech")
  secret = tmp_path / "elsewhere/secret.json"
  secret.parent.mkdir()
  (folder / "config.json").rename(secret)
  (folder / "config.json").symlink_to(secret)
  with pytest.raises(
    InterchangeError, match="outside of the folder; it was no"
  ):
    huggingface.read(folder)
  (folder / "config.json").unlink()
  hub = tmp_path / "hub"
  (hub / "snapshots").mkdir(parents=True)
  (hub / "blobs").mkdir()
  snapshot = hub / "snapshots/abc"
  folder.rename(snapshot)
  secret.rename(hub / "blobs/123")
  (snapshot / "config.json").symlink_to("../../blobs/123")
  assert huggingface.read(snapshot).modality == "speech"


def test_half_precision(exported):
  folder = exported("vision")
  plain = huggingface.read(folder).params
  halves = {k: v.astype(np.float16) for k, v in weights(folder).items()}
  save(folder, halves)
  back = huggingface.read(folder).params
  expected = jax.tree.map(lambda x: x.astype(np.float16).astype("f4"), plain)
  assert_bit_equal(back, expected)


def test_bfloat16(exported):
  import ml_dtypes

  folder = exported("vision")
  plain = huggingface.read(folder).params
  kind = ml_dtypes.bfloat16
  save(folder, {k: v.astype(kind) for k, v in weights(folder).items()})
  back = huggingface.read(folder).params
  expected = jax.tree.map(lambda x: x.astype(kind).astype("f4"), plain)
  assert_bit_equal(back, expected)


def test_stale_files_of_ours_are_left_out(tmp_path):
  model = small_models.make("vision")
  folder = tmp_path / "folder"
  huggingface.write(folder, model)
  arrays = weights(folder)
  arrays["layernorm.bias"] = arrays["layernorm.bias"] + 1
  save(folder, arrays)
  back = huggingface.read(folder)
  assert "d2v_jax.json was left out" in back.notes[-1]
  assert back.objective == {} and "head" not in back.params
  expected = model.teacher_params["norm"]["bias"] + 1
  np.testing.assert_array_equal(back.params["norm"]["bias"], expected)


@pytest.mark.parametrize(
  "change, message",
  [
    ({"modality": "text"}, "modality is not what export writes"),
    ({"params": "all"}, "damaged: params is not"),
    ({"params": ["a/b"]}, "1 parameters that are nowhere, such as params/a/b"),
    ({"objective": {"name": "other"}}, "objective.name: unknown 'other'"),
    ({"encoder": {"width": 10**9}}, "refused a size of the encoder above"),
    ({"encoder": {"colour": 1}}, "colour: unknown field"),
    ({"tracked": ["a"]}, "damaged: .*KeyError\\('a'\\)"),
  ],
)
def test_damaged_files_of_ours(tmp_path, change, message):
  huggingface.write(tmp_path / "folder", small_models.make("vision"))
  edit(tmp_path / "folder", "d2v_jax.json", **change)
  with pytest.raises(InterchangeError, match=message):
    huggingface.read(tmp_path / "folder")


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
      {"model_type": "beit"},
      "model_type='beit': .* 'data2vec-audio'",
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


@pytest.mark.parametrize(
  "fields, message",
  [
    ({"do_normalize": False}, "do_normalize=False: .* has only True"),
    ({"sampling_rate": 8000}, "sampling_rate=8000: .* has only 16000"),
    ({"padding_side": "left"}, "padding_side='left'"),
  ],
)
def test_audio_must_be_prepared_as_ours(exported, fields, message):
  folder = exported("speech")
  edit(folder, "preprocessor_config.json", **fields)
  with pytest.raises(InterchangeError, match=message):
    huggingface.read(folder)


@pytest.mark.parametrize(
  "fields, mean, std",
  [
    ({"image_mean": [0.1, 0.2, 0.3]}, (0.1, 0.2, 0.3), (0.229, 0.224, 0.225)),
    ({"do_normalize": False}, (0.0,), (1.0,)),
    ({"image_mean": 51.0, "image_std": 255.0, "do_rescale": False}, 0.2, 1.0),
    ({"rescale_factor": 2 / 255, "image_mean": 1.0, "image_std": 2.0}, 0.5, 1),
  ],
)
def test_images_are_prepared_as_theirs(exported, fields, mean, std):
  folder = exported("vision")
  edit(folder, "preprocessor_config.json", **fields)
  encoder = huggingface.read(folder).encoder
  np.testing.assert_allclose(encoder["mean"], np.atleast_1d(mean), atol=1e-7)
  np.testing.assert_allclose(encoder["std"], np.atleast_1d(std), atol=1e-7)
  edit(folder, "preprocessor_config.json", image_std=[0.5, 0.5])
  if fields.get("do_normalize", True):
    with pytest.raises(InterchangeError, match=r"image_std=.* 1 or 3 numbers"):
      huggingface.read(folder)


def test_another_size_of_images_is_noted(exported):
  folder = exported("vision")
  edit(folder, "preprocessor_config.json", crop_size=224)
  assert "images of 224 pixels, the model has 16" in str(
    huggingface.read(folder).notes
  )


@pytest.mark.parametrize(
  "content, message",
  [
    (b"{", "config.json is not JSON"),
    (b"[" * 100_000, "config.json is not JSON"),
    (b"[1]", "must hold a JSON object, got list"),
    (b"\xff", "config.json is not JSON"),
    (b" " * (1 << 20) + b"{}", "more than the 1048576 that such a file may"),
  ],
)
def test_damaged_config(exported, content, message):
  folder = exported("vision")
  (folder / "config.json").write_bytes(content)
  with pytest.raises(InterchangeError, match=message):
    huggingface.read(folder)


def test_damaged_weights(exported, tmp_path):
  folder = exported("vision")
  arrays = weights(folder)
  path = folder / "model.safetensors"
  whole = path.read_bytes()
  for content in (whole[:-10], whole[:20], b"", (2**40).to_bytes(8, "little")):
    path.write_bytes(content)
    with pytest.raises(InterchangeError, match="not a whole safetensors file"):
      huggingface.read(folder)
  name = "encoder.layer.1.output.dense.bias"
  save(folder, {k: v for k, v in arrays.items() if k != name})
  with pytest.raises(
    InterchangeError, match=r"(?s)misshapen.*fc2/bias: \[1, 1"
  ):
    huggingface.read(folder)
  save(folder, arrays | {"stranger": np.zeros(2)})
  with pytest.raises(InterchangeError, match=r"unexpected \(1\):\n  stranger"):
    huggingface.read(folder)
  path.unlink()
  with pytest.raises(InterchangeError, match=r"has none of model.safetensors"):
    huggingface.read(folder)
  with pytest.raises(InterchangeError, match="is not a folder; give the folde"):
    huggingface.read(tmp_path / "nowhere")
  (folder / "config.json").unlink()
  with pytest.raises(InterchangeError, match=r"has no file config.json"):
    huggingface.read(folder)


def test_characters(exported):
  folder = exported("speech", "ctc")
  plain = huggingface.read(folder)
  kernel = plain.params["head"]["fc1"]["kernel"]
  vocab = {"<s>": 0, "<pad>": 5, "|": 3, "B": 1, "</s>": 2, "A": 4}
  (folder / "vocab.json").write_text(json.dumps(vocab))
  edit(folder, pad_token_id=5)
  model = huggingface.read(folder)
  assert model.data["labels"]["characters"] == "B|A"
  assert model.data["labels"]["case"] == "upper"
  assert model.objective == dict(name="ctc", head=dict(num_outputs=4))
  np.testing.assert_array_equal(
    model.params["head"]["fc1"]["kernel"], kernel[:, [5, 1, 3, 4]]
  )
  assert "outputs for <s>, </s> were cut" in str(model.notes)
  assert "outputs were reordered" in str(model.notes)

  for gone, changed, message in (
    ("<s>", {"CH": 0}, r"'CH' \(number 0 of 6\) is not one character"),
    ("A", {"C": 9}, r"'C' \(number 9 of 6\)"),
    ("A", {"C": 3}, "'C' has the number 3"),
    ("A", {"C": "4"}, "'C' has the number '4'"),
  ):
    changed = {k: v for k, v in vocab.items() if k != gone} | changed
    (folder / "vocab.json").write_text(json.dumps(changed))
    with pytest.raises(InterchangeError, match=message):
      huggingface.read(folder)
  del vocab["|"]
  (folder / "vocab.json").write_text(json.dumps(vocab))
  with pytest.raises(InterchangeError, match="characters must hold"):
    huggingface.read(folder)
  (folder / "vocab.json").unlink()
  model = huggingface.read(folder)
  assert model.objective["head"] == {"num_outputs": 6} and model.data == {}
  assert "there is no vocab.json" in str(model.notes)


def test_characters_are_written(exported):
  folder = exported("speech", "ctc")
  vocab = json.loads((folder / "vocab.json").read_text())
  assert vocab == {"<pad>": 0, "|": 1, "A": 2, "B": 3, "C": 4, "'": 5}
  labels = huggingface.read(folder).data["labels"]
  assert labels["characters"] == small_models.CHARACTERS["characters"]


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


def test_a_tokenizer_that_does_not_fit_is_left_out(exported):
  folder = exported("text")
  (folder / "tokenizer.json").write_text('{"model": {}}')
  model = huggingface.read(folder)
  assert "tokenizer was left out: tokenizer: tokenizer.json is not" in str(
    model.notes
  )
  assert model.files == {} and model.data == {}


def test_classifiers_of_several_labels_are_refused(exported):
  folder = exported("text", "classification")
  edit(folder, problem_type="multi_label_classification")
  with pytest.raises(InterchangeError, match="problem_type='multi_label"):
    huggingface.read(folder)
  edit(folder, problem_type=None, id2label=["a"])
  with pytest.raises(InterchangeError, match="id2label="):
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
    ("speech", {"position_depth": 1}, "config.encoder.position_depth=1"),
    ("text", {"embedding_norm": False}, "config.encoder.embedding_norm=False"),
    ("text", {"pre_norm": True}, "config.encoder.pre_norm=True"),
    ("text", {"name": "visible_text"}, "config.encoder.name='visible_text'"),
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


def test_tokenizer_of_a_run(tmp_path):
  files = text_tokenizer.of_run({"name": "kjv"})
  path = tmp_path / "tokenizer.json"
  path.write_bytes(files["tokenizer/tokenizer.json"])
  kjv = tokenizer.load(name="kjv")
  assert tokenizer.load(path).fingerprint == kjv.fingerprint
  assert text_tokenizer.of_run({"path": str(path)}) == files
