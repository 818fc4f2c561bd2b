"""Live against transformers, both ways; skipped where it is not installed."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `parity` has torch")
transformers = pytest.importorskip(
  "transformers", reason="the extra `parity` has transformers"
)

from d2v_jax import config as config_lib  # noqa: E402
from d2v_jax.data.labels import Characters  # noqa: E402
from d2v_jax.data.text import tokenizer  # noqa: E402
from d2v_jax.interchange.huggingface import folder as huggingface  # noqa: E402
from d2v_jax.interchange.huggingface import parity  # noqa: E402
from d2v_jax.interchange.weights import flatten  # noqa: E402
from d2v_jax.modalities import MODALITIES  # noqa: E402
from d2v_jax.objectives import ema  # noqa: E402
from tests.interchange import small_models  # noqa: E402
from tests.interchange.huggingface.live import (  # noqa: E402
  AUDIO,
  SHARED,
  TEXT,
  TOLERANCE,
  VISION,
  assert_close,
  random_model,
)

THEIRS = {
  "vision, shared bias": ("VisionModel", VISION | SHARED),
  "vision, final norm": (
    "VisionModel",
    VISION | SHARED | dict(use_mean_pooling=False, use_mask_token=True),
  ),
  "vision, bias of each layer": (
    "VisionModel",
    VISION | dict(use_relative_position_bias=True, layer_scale_init_value=0.0),
  ),
  "vision, absolute positions": (
    "VisionModel",
    VISION | dict(use_absolute_position_embeddings=True, layer_norm_eps=1e-5),
  ),
  "vision, no positions, grey": ("VisionModel", VISION | dict(num_channels=1)),
  "image classification": (
    "VisionForImageClassification",
    VISION | SHARED | dict(num_labels=5),
  ),
  "image classification by CLS": (
    "VisionForImageClassification",
    VISION | SHARED | dict(use_mean_pooling=False),
  ),
  "audio": ("AudioModel", AUDIO),
  "audio, other sizes": (
    "AudioModel",
    AUDIO
    | dict(
      conv_bias=True,
      mask_time_prob=0.0,
      num_conv_pos_embeddings=2,
      conv_pos_kernel_size=8,
    ),
  ),
  "ctc": ("AudioForCTC", AUDIO | dict(pad_token_id=3)),
  "audio classification": (
    "AudioForSequenceClassification",
    AUDIO | dict(classifier_proj_size=6, num_labels=3),
  ),
  "audio, another head": ("AudioForXVector", AUDIO),
  "text": ("TextModel", TEXT),
  "text, one type": ("TextModel", TEXT | dict(type_vocab_size=1)),
  "masked language model": ("TextForMaskedLM", TEXT),
  "text classification": (
    "TextForSequenceClassification",
    TEXT | dict(num_labels=4),
  ),
}
HEADS = ("image classification", "ctc", "audio classification")
HEADS += ("text classification",)


def save(model, folder, layout):
  if layout == "safetensors":
    model.save_pretrained(folder)
  elif layout == "shards":
    model.save_pretrained(folder, max_shard_size="20KB")
    assert (folder / "model.safetensors.index.json").exists()
  else:
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


@pytest.mark.parametrize("case", THEIRS)
def test_imported(tmp_path, case):
  name, config = THEIRS[case]
  model = random_model(name, config)
  save(model, tmp_path, "safetensors")
  imported = huggingface.read(tmp_path)
  # From what transformers reads itself, and not from what we read for it.
  reloaded = type(model).from_pretrained(tmp_path, local_files_only=True)
  compare(reloaded.eval(), imported, imported.params, case in HEADS)


@pytest.mark.parametrize("case", ["vision, final norm", "ctc", "text"])
def test_other_layouts(tmp_path, case):
  model = random_model(*THEIRS[case])
  found = []
  for layout in ("safetensors", "shards", "bin"):
    (tmp_path / layout).mkdir()
    save(model, tmp_path / layout, layout)
    found.append(flatten(huggingface.read(tmp_path / layout).params))
  for other in found[1:]:
    assert other.keys() == found[0].keys()
    for path, leaf in other.items():
      np.testing.assert_array_equal(leaf, found[0][path])


@pytest.mark.parametrize("case", HEADS)
def test_check(tmp_path, case):
  save(random_model(*THEIRS[case]), tmp_path, "bin")
  differences, reason = parity.check(tmp_path, huggingface.read(tmp_path))
  assert reason == ""
  names = ["block 1", "block 2", "block 3", "output", "logits"]
  assert list(differences) == names
  assert max(differences.values()) < TOLERANCE, differences


@pytest.mark.parametrize("which", huggingface.MODELS)
def test_check_of_an_export(tmp_path, which):
  huggingface.write(tmp_path, small_models.make("speech"), which)
  differences, _ = parity.check(tmp_path, huggingface.read(tmp_path))
  assert max(differences.values()) < TOLERANCE, differences


def test_check_sees_a_difference(tmp_path):
  model = random_model(*THEIRS["text"])
  save(model, tmp_path, "safetensors")
  imported = huggingface.read(tmp_path)
  imported.params["blocks"]["norm1"]["bias"][1] += 0.01
  differences, _ = parity.check(tmp_path, imported)
  assert differences["block 1"] < TOLERANCE < differences["block 2"]


@pytest.mark.parametrize(
  "modality, kind, which",
  [(*case, "teacher") for case in small_models.KINDS]
  + [("vision", "pretrained", "student")],
)
def test_exported(tmp_path, modality, kind, which):
  ours = small_models.make(modality, kind)
  huggingface.write(tmp_path, ours, which)
  config = transformers.AutoConfig.from_pretrained(tmp_path)
  cls = getattr(transformers, config.architectures[0])
  theirs, loading = cls.from_pretrained(
    tmp_path, local_files_only=True, output_loading_info=True
  )
  assert not any(loading.values()), loading
  params = ours.params
  if which == "teacher":
    params = ema.teacher(params, ours.teacher_params)
  has_head = ours.objective["name"] != "data2vec"
  compare(theirs.eval(), ours, params, has_head)


def test_auto_classes_open_an_export(tmp_path):
  huggingface.write(tmp_path / "vision", small_models.make("vision"))
  model = transformers.AutoModel.from_pretrained(tmp_path / "vision")
  assert type(model).__name__ == "Data2VecVisionModel"
  ctc = small_models.make("speech", "ctc")
  huggingface.write(tmp_path / "ctc", ctc)
  model = transformers.AutoModelForCTC.from_pretrained(tmp_path / "ctc")
  assert model.config.vocab_size == 6 and model.config.pad_token_id == 0
  extractor = transformers.AutoFeatureExtractor.from_pretrained(
    tmp_path / "ctc"
  )
  assert extractor.do_normalize and extractor.sampling_rate == 16_000


def test_characters_of_an_export_mean_the_same(tmp_path):
  huggingface.write(tmp_path, small_models.make("speech", "ctc"))
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
  ours = Characters(characters="|ABC'", max_length=20)
  text = "A CAB CA'B"
  ids = ours.ids(text)
  assert theirs(f"{text}|").input_ids == ids
  frames = [x for i in ids for x in (0, i, i, 0)]  # as CTC puts them out
  assert theirs.decode(frames) == text == ours.text(ids)


def test_tokenizer_of_an_export_gives_the_same_ids(tmp_path):
  huggingface.write(tmp_path, small_models.make("text"))
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
  ours = tokenizer.load(name="kjv")
  a, b = "In the beginning", "God created ünïcode"
  encoded = [list(ours.encode(x)) for x in (a, b)]
  assert theirs(a).input_ids == [0, *encoded[0], 2]
  assert theirs(a, b).input_ids == [0, *encoded[0], 2, 2, *encoded[1], 2]
  ids = theirs(["a", a], padding=True).input_ids
  assert ids[0][-1] == theirs.pad_token_id == 1
  assert theirs.mask_token_id == ours.vocab_size - 1 == len(theirs) - 1


def compare(theirs, ours, params, has_head):
  """Every hidden state, the output and the logits, padded rows included."""
  batch, inputs = batches(ours)
  encoders = MODALITIES[ours.modality].encoders
  network = config_lib.build(ours.encoder, encoders, "encoder")
  output = network(params, batch)
  with torch.no_grad():
    inputs = {k: torch.from_numpy(v) for k, v in inputs.items()}
    base = theirs.base_model(**inputs, output_hidden_states=True)
    logits = theirs(**inputs).logits if has_head else None
  blocks, tokens = (np.asarray(x) for x in (output.block, output.tokens))
  if ours.modality == "vision":
    cls = np.asarray(output.block_cls)[:, :, None]
    blocks = np.concatenate([cls, blocks], 2)
    tokens = np.concatenate([np.asarray(output.cls)[:, None], tokens], 1)
  real = np.ones(tokens.shape[:2], bool)
  if output.padding is not None:
    real = ~np.asarray(output.padding)
    assert real.all(1).tolist() == [True, bool(real[1].all())]
  hidden = base.hidden_states[1:]
  assert len(hidden) == len(blocks)
  for mine, other in zip(blocks, hidden, strict=True):
    assert_close(mine[real], other.numpy()[real])
  assert_close(tokens[real], base.last_hidden_state.numpy()[real])
  first = first_hidden_state(ours, params, network, batch)
  if first is not None:
    assert_close(first[real], base.hidden_states[0].numpy()[real])
  if not has_head:
    return
  logits, kernel = logits.numpy(), params["head"]["fc1"]["kernel"]
  x = tokens[:, 1:] if ours.modality == "vision" else tokens
  if ours.objective["name"] == "ctc":
    x, logits = x[real], logits[real]
    blank = theirs.config.pad_token_id  # comes first here
    order = [blank, *(i for i in range(logits.shape[-1]) if i != blank)]
    logits = logits[:, order]
  elif ours.modality == "text":
    x = x[:, 0]
  else:
    weight = (real[:, 1:] if ours.modality == "vision" else real)[..., None]
    x = (x * weight).sum(1) / weight.sum(1)
  if "norm" in params["head"]:
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(
      x.var(-1, keepdims=True) + theirs.config.layer_norm_eps
    )
    x = x * params["head"]["norm"]["scale"] + params["head"]["norm"]["bias"]
  x = x @ kernel + params["head"]["fc1"]["bias"]
  if "fc2" in params["head"]:
    last = params["head"]["fc2"]
    x = np.tanh(x) @ last["kernel"] + last["bias"]
  assert_close(x, logits)


def first_hidden_state(ours, params, network, batch):
  """Input of the first layer: what the norm before it gives, if there is."""
  name = {"text": "embedding_norm", "speech": "norm"}.get(ours.modality)
  if name is None:
    return None
  _, state = network.module.apply(
    {"params": params},
    batch,
    None,
    capture_intermediates=lambda module, _: module.name == name,
    mutable=["intermediates"],
  )
  return np.asarray(state["intermediates"][name]["__call__"][0])


def batches(ours):
  """Two examples, the second padded, as we and as transformers take them."""
  rng = np.random.default_rng(7)
  if ours.modality == "vision":
    side = ours.encoder["image_size"]
    kernel = ours.params["feature_encoder"]["proj"]["kernel"]
    channels = len(kernel) // ours.encoder["patch_size"] ** 2
    x = rng.standard_normal((2, side, side, channels), np.float32)
    return {"inputs": x}, {"pixel_values": x.transpose(0, 3, 1, 2).copy()}
  if ours.modality == "text":
    length = ours.encoder["max_tokens"]
    x = rng.integers(2, ours.encoder["vocab_size"], (2, length), np.int32)
    x[1, length // 2 :] = 1
    there = (x != 1).astype(np.int64)
    inputs = {"input_ids": x.astype(np.int64), "attention_mask": there}
    return {"inputs": x}, inputs
  samples = 1000
  # An encoder of ours that isolates padding agrees on whole utterances.
  isolate = ours.encoder.get("isolate_padding", True)
  lengths = np.array([samples, samples if isolate else 600])
  frames = []
  for n in (samples, *lengths):
    for _, kernel, stride in ours.encoder["conv_layers"]:
      n = (n - kernel) // stride + 1
    frames.append(n)
  there = np.arange(samples) < lengths[:, None]
  x = np.where(there, rng.standard_normal(there.shape, np.float32), 0)
  padding = np.arange(frames[0]) >= np.array(frames[1:])[:, None]
  mask = there.astype(np.int64)
  return {"inputs": x, "padding": padding}, {
    "input_values": x,
    "attention_mask": mask,
  }
