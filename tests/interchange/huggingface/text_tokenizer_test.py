"""Tokenizers in folders of text models."""

from d2v_jax.data.text import tokenizer
from d2v_jax.interchange.huggingface import folder as huggingface
from d2v_jax.interchange.huggingface import text_tokenizer


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
