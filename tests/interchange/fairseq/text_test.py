"""data2vec_text, with heads and tokenizers."""

import json

import jax
import numpy as np
import pytest

from d2v_jax.interchange.weights import InterchangeError
from tests.interchange.fairseq import checkpoints
from tests.interchange.fairseq.reading import objective, read


def test_classification_of_texts(tmp_path):
  state = checkpoints.glue()
  imported = read(tmp_path, state)
  assert imported.objective["name"] == "classification"
  assert imported.teacher_params == {}
  head = "classification_heads.sentence_classification_head."
  x = np.random.default_rng(0).normal(size=(2, 3, 64)).astype(np.float32)
  ours = objective(imported).head(imported.params["head"], x, None)
  dense, out = (
    [state["model"][f"{head}{name}.{part}"] for part in ("weight", "bias")]
    for name in ("dense", "out_proj")
  )
  theirs = np.tanh(x[:, 0] @ dense[0].T + dense[1]) @ out[0].T + out[1]
  np.testing.assert_allclose(ours, theirs, atol=1e-5)
  score = read(tmp_path, checkpoints.glue(1, regression=True))
  assert score.objective["name"] == "regression"
  alone = read(tmp_path, state, encoder_only=True)
  assert alone.objective == {} and "head" not in alone.params


def test_older_names_of_text(tmp_path):
  state = checkpoints.text()
  model = {
    name.replace("encoder.", "decoder.", 1)
    .replace(".layernorm_embedding.", ".emb_layer_norm.")
    .replace(".regression_head.", ".lm_head."): value
    for name, value in state["model"].items()
  }
  average = {
    k.replace("layernorm_embedding.", "emb_layer_norm."): v
    for k, v in model.pop("decoder._ema").items()
  }
  old = read(tmp_path, {**state, "model": {**model, "decoder._ema": average}})
  new = read(tmp_path, checkpoints.text())
  jax.tree.map(np.testing.assert_array_equal, old.params, new.params)
  assert set(old.teacher_params) == {"blocks"}


def tokenizer(folder):
  """GPT-2's files in small: 4 + 93 tokens and <mask>, most frequent first."""
  vocab = {chr(33 + i): i for i in range(93)}
  (folder / "encoder.json").write_text(json.dumps(vocab))
  (folder / "vocab.bpe").write_text("#version: 0.2\n")
  lines = [f"{i} {100 - i}" for i in reversed(range(93))]
  lines += ["madeupword0000 0", "madeupword0001 0"]
  (folder / "dict.txt").write_text("\n".join(lines) + "\n")


def test_tokenizer_of_text(tmp_path):
  without = read(tmp_path, checkpoints.text())
  assert without.data == {} and "no tokenizer" in without.notes[0]
  tokenizer(tmp_path)
  imported = read(tmp_path, checkpoints.text())
  assert imported.data == {"tokenizer": {"path": "tokenizer"}}
  assert sorted(imported.files) == [
    "tokenizer/dict.txt",
    "tokenizer/encoder.json",
    "tokenizer/vocab.bpe",
  ]
  lines = (tmp_path / "dict.txt").read_text().splitlines()
  (tmp_path / "dict.txt").write_text("\n".join(lines[:-1]))
  with pytest.raises(InterchangeError, match="has 99 tokens, and the model 10"):
    read(tmp_path, checkpoints.text())
  (tmp_path / "vocab.bpe").unlink()
  with pytest.raises(
    InterchangeError, match=r"dictionary is a folder with dict\.txt"
  ):
    given = tmp_path / "dict.txt"
    read(tmp_path, checkpoints.text(), dictionary=given)
