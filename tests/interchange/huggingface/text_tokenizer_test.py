"""Tokenizers in folders of text models."""

import json

import pytest

from d2v_jax.data.text import tokenizer
from d2v_jax.interchange.huggingface import folder as huggingface
from d2v_jax.interchange.huggingface import text_tokenizer
from tests.interchange.folders import edit


def test_a_tokenizer_that_does_not_fit_is_left_out(exported):
  folder = exported("text")
  (folder / "tokenizer.json").write_text('{"model": {}}')
  model = huggingface.read(folder)
  assert "tokenizer was left out: tokenizer: tokenizer.json is not" in str(
    model.notes
  )
  assert model.files == {} and model.data == {}


def test_tokenizer_of_a_run(tmp_path):
  files = text_tokenizer.of_run({"name": "kjv"})
  path = tmp_path / "tokenizer.json"
  path.write_bytes(files["tokenizer/tokenizer.json"])
  kjv = tokenizer.load(name="kjv")
  assert tokenizer.load(path).fingerprint == kjv.fingerprint
  assert text_tokenizer.of_run({"path": str(path)}) == files


@pytest.mark.parametrize(
  "name, change, message",
  [
    ("tokenizer_config", {"add_prefix_space": True}, "add_prefix_space=True"),
    (
      "tokenizer",
      {"post_processor": None},
      "post_processor None does not put <s> and </s> around",
    ),
    (
      "tokenizer",
      {"post_processor": {"type": "ByteLevel"}},
      "post_processor 'ByteLevel' does not put",
    ),
  ],
)
def test_a_tokenizer_that_gives_other_ids_is_left_out(
  exported, name, change, message
):
  folder = exported("text")
  edit(folder, f"{name}.json", **change)
  model = huggingface.read(folder)
  assert f"tokenizer was left out: {name}" in str(model.notes)
  assert message in str(model.notes) and model.files == {}


def test_added_tokens_are_looked_for_in_texts(exported):
  folder = exported("text")
  content = json.loads((folder / "tokenizer.json").read_text())
  piece = {"content": "Ġthe", "id": content["model"]["vocab"]["Ġthe"]}
  edit(folder, "tokenizer.json", added_tokens=[*content["added_tokens"], piece])
  model = huggingface.read(folder)
  assert "added_tokens has 'Ġthe'" in str(model.notes) and model.files == {}


def test_a_template_that_puts_the_same_around_texts(exported):
  folder = exported("text")
  start, end = ({"SpecialToken": {"id": x}} for x in ("<s>", "</s>"))
  a, b = ({"Sequence": {"id": x}} for x in "AB")
  template = {
    "type": "TemplateProcessing",
    "single": [start, a, end],
    "pair": [start, a, end, end, b, end],
  }
  parts = [{"type": "ByteLevel"}, template]
  sequence = {"type": "Sequence", "processors": parts}
  edit(folder, "tokenizer.json", post_processor=sequence)
  assert huggingface.read(folder).data == {"tokenizer": {"path": "tokenizer"}}
