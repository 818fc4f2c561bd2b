"""Folders of data2vec 2.0; what needs torch is skipped where that is not."""

import json
import sys

import numpy as np
import pytest

from d2v_jax.interchange import run
from d2v_jax.interchange.huggingface import folder as huggingface
from d2v_jax.interchange.huggingface import parity
from d2v_jax.interchange.plain_torch import network
from d2v_jax.interchange.weights import InterchangeError
from tests.interchange import small_models
from tests.interchange.folders import assert_bit_equal, edit

PRETRAINED = [(modality, "second") for modality in network.CLASSES]
HEADS = {
  ("vision", "second, classification"): "AutoModelForImageClassification",
  ("speech", "second, ctc"): "AutoModelForCTC",
  ("speech", "second, classification"): "AutoModelForAudioClassification",
  ("text", "second, classification"): "AutoModelForSequenceClassification",
  ("text", "second, regression"): "AutoModelForSequenceClassification",
}


@pytest.mark.parametrize("modality, kind", small_models.SECOND)
def test_read_from_its_own_fields(exported, modality, kind):
  model = small_models.make(modality, kind)
  back = huggingface.read(exported(modality, kind))
  expected = {k: v for k, v in model.params.items() if k in back.params}
  expected |= model.teacher_params
  made = {k: v for k, v in back.params.items() if k in expected}
  assert_bit_equal(made, expected)
  # Fixed positions become learned ones.
  assert back.params.keys() - expected.keys() <= {"position_embedding"}
  name = model.objective["name"]
  assert back.objective.get("name") == (name if "head" in expected else None)
  assert back.modality == modality and back.teacher_params == {}


@pytest.mark.parametrize("modality", network.CLASSES)
def test_code_is_never_run(exported, modality):
  folder = exported(modality, "second")
  file = folder / network.file(modality).name
  assert file.read_bytes() == network.file(modality).read_bytes()
  file.write_text("raise SystemExit")
  (note,) = (x for x in huggingface.read(folder).notes if file.name in x)
  assert "is not this version's; it was not run" in note
  for code in ("other--repository.Model", {"AutoModel": "modeling_mine.X"}):
    edit(folder, auto_map=code)
    with pytest.raises(InterchangeError, match=r"auto_map=.* is never run"):
      huggingface.read(folder)


@pytest.mark.parametrize(
  "modality, kind, fields, message",
  [
    ("vision", "second", {"image_size": [16, 32]}, "two equal sides"),
    ("vision", "second", {"image_size": 16}, "a list of integers"),
    ("vision", "second", {"cls_token": 1}, "it must be True or False"),
    ("speech", "second", {"alibi_slopes": [1, 2]}, "ours are others"),
    ("speech", "second", {"zeroed_positions": 1}, "it must be 0 or 2"),
    ("speech", "second", {"conv_layers": 3}, "must be a list of layers"),
    ("speech", "second", {"conv_layers": [[8, 10]]}, "three|3|conv_layers"),
    ("text", "second", {"pad_token_id": 0}, "this library has only 1"),
    ("text", "second", {"vocab_size": "2"}, "vocab_size='2'"),
    (
      "text",
      "second, regression",
      {"head": {"pool": "attentive", "num_outputs": 1}},
      "only mean, first can be imported",
    ),
    (
      "text",
      "second, regression",
      {"problem_type": "ranking"},
      "multi_label_classification, regression can be imported",
    ),
  ],
)
def test_damaged_fields(exported, modality, kind, fields, message):
  folder = exported(modality, kind)
  edit(folder, **fields)
  with pytest.raises(InterchangeError, match=message):
    huggingface.read(folder)


def test_rectangles_are_refused(tmp_path):
  model = small_models.make("vision", "second")
  model.encoder["image_size"] = (16, 16)
  with pytest.raises(InterchangeError, match=r"image_size=\(16, 16\) cannot"):
    huggingface.write(tmp_path / "folder", model)


@pytest.mark.parametrize("modality, kind", [*PRETRAINED, *HEADS])
def test_check(exported, modality, kind):
  pytest.importorskip("torch", reason="the extra `parity` has torch")
  folder = exported(modality, kind)
  differences, reason = parity.check(folder, huggingface.read(folder))
  assert reason == ""
  names = ["block 1", "block 2", "output"]
  assert list(differences) == names + ["logits"] * (kind != "second")
  assert max(differences.values()) < 1e-4


def test_check_sees_a_difference(exported):
  pytest.importorskip("torch", reason="the extra `parity` has torch")
  folder = exported("text", "second")
  model = huggingface.read(folder)
  model.params["blocks"]["norm1"]["bias"][1] += 0.01
  differences, _ = parity.check(folder, model)
  assert differences["block 1"] < 1e-4 < differences["block 2"]


@pytest.mark.parametrize("modality", network.CLASSES)
def test_auto_classes(exported, modality):
  torch = pytest.importorskip("torch", reason="the extra `parity` has torch")
  reason = "the extra `parity` has transformers"
  transformers = pytest.importorskip("transformers", reason=reason)
  names = {k: name for k, name in HEADS.items() if k[0] == modality}
  kind, name = next((k[1], name) for k, name in names.items())
  folder = exported(modality, kind)
  auto = getattr(transformers, name)
  with pytest.raises(ValueError, match="trust_remote_code"):
    auto.from_pretrained(folder, trust_remote_code=False)
  made = auto.from_pretrained(folder, trust_remote_code=True)
  assert type(made).__name__ == network.CLASSES[modality]
  assert not made.training
  config = transformers.AutoConfig.from_pretrained(
    folder, trust_remote_code=True
  )
  assert config.num_hidden_layers == 2 and config.model_type == "data2vec2"
  again = transformers.AutoModel.from_pretrained(folder, trust_remote_code=True)
  for a, b in zip(made.parameters(), again.parameters(), strict=True):
    assert torch.equal(a, b)


@pytest.mark.parametrize("modality", network.CLASSES)
def test_import_without_transformers(exported, monkeypatch, modality):
  torch = pytest.importorskip("torch", reason="the extra `parity` has torch")
  folder = exported(modality, "second")
  for name in ("transformers", "huggingface_hub", "safetensors"):
    monkeypatch.setitem(sys.modules, name, None)
  monkeypatch.syspath_prepend(folder)
  stem = network.file(modality).stem
  module = __import__(stem)
  del sys.modules[stem]  # other folders have one of this name, too
  made = getattr(module, network.CLASSES[modality]).from_pretrained(folder)
  content = json.loads((folder / "config.json").read_text())
  model = huggingface.read(folder)
  arrays = network.weights(modality, model.encoder, model.params)
  expected = network.build(modality, content, arrays)
  for (a, x), (b, y) in zip(
    made.state_dict().items(), expected.state_dict().items(), strict=True
  ):
    assert a == b and torch.equal(x, y)


def test_a_run_of_an_import(tmp_path, exported):
  workdir = run.write(
    tmp_path / "run", huggingface.read(exported("text", "second")), {}
  )
  again = run.read(workdir)
  assert again.encoder["name"] == "visible_text"
  assert np.size(again.params["blocks"]["norm1"]["bias"]) == 32
