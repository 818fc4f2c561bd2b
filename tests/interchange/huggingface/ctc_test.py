"""vocab.json of CTC models."""

import json

import numpy as np
import pytest

from d2v_jax.interchange.huggingface import folder as huggingface
from d2v_jax.interchange.weights import InterchangeError
from tests.interchange import small_models
from tests.interchange.folders import edit


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
  assert model.objective["head"] == {"num_outputs": 6}
  assert model.data == {"variance_floor": 1e-7}
  assert "there is no vocab.json" in str(model.notes)


def test_characters_are_written(exported):
  folder = exported("speech", "ctc")
  vocab = json.loads((folder / "vocab.json").read_text())
  assert vocab == {"<pad>": 0, "|": 1, "A": 2, "B": 3, "C": 4, "'": 5}
  labels = huggingface.read(folder).data["labels"]
  assert labels["characters"] == small_models.CHARACTERS["characters"]
