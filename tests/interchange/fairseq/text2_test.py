"""data2vec 2.0 of text, and a classification on top."""

import numpy as np
import pytest

from d2v_jax.interchange.weights import InterchangeError
from tests.interchange.fairseq import checkpoints2 as files
from tests.interchange.fairseq.reading import objective, read, same_encoder


def test_options_of_text(tmp_path):
  imported = read(tmp_path, files.pretrained("text"))
  e, o = imported.encoder, imported.objective
  assert (e["vocab_size"], e["max_tokens"], e["prenet_depth"]) == (100, 512, 0)
  assert o["loss_scale"] == 1.0 and o["decoder"]["initial"] == "normal"
  assert o["decoder"]["projection_layers"] == 2
  assert not o["decoder"]["residual"] and o["cls_loss"] == 0
  assert imported.data == {
    "mask": {"name": "random_tokens", "num_masks": 2, "ratio": 0.48}
  }
  notes = "\n".join(imported.notes)
  assert "no tokenizer" in notes and "the teacher has no dropout here" in notes


def test_classification_of_texts(tmp_path):
  state = files.glue()
  imported = read(tmp_path, state)
  assert imported.objective["name"] == "classification"
  assert "head 'sentence_classification_head'" in imported.description
  same_encoder(imported, files.pretrained("text"), tmp_path)
  x = np.random.default_rng(0).normal(size=(2, 3, 64)).astype(np.float32)
  ours = objective(imported).head(imported.params["head"], x, None)
  head = "classification_heads.sentence_classification_head."
  dense, out = (
    [state["model"][f"{head}{name}.{part}"] for part in ("weight", "bias")]
    for name in ("dense", "out_proj")
  )
  theirs = np.tanh(x[:, 0] @ dense[0].T + dense[1]) @ out[0].T + out[1]
  np.testing.assert_allclose(ours, theirs, atol=1e-5)
  alone = read(tmp_path, state, encoder_only=True)
  assert alone.objective == {} and "head" not in alone.params
  assert alone.description.endswith("of fairseq, fine-tuned")
  with pytest.raises(InterchangeError, match="this library has only 'tanh'"):
    read(tmp_path, files.glue(pooler_activation_fn="relu"))
  for name in [n for n in state["model"] if n.startswith("classification_")]:
    del state["model"][name]
  with pytest.raises(InterchangeError, match=r"it has 0 heads"):
    read(tmp_path, state)
