"""The vision release."""

import numpy as np

from tests.interchange.fairseq import checkpoints
from tests.interchange.fairseq.reading import QUIET, objective, read


def test_options_of_vision(tmp_path):
  imported = read(tmp_path, checkpoints.vision())
  e = imported.encoder
  assert (e["image_size"], e["patch_size"], e["num_heads"]) == (224, 16, 4)
  assert e["positions"] == "relative" and "mean" not in e
  assert imported.objective["ema"]["tracked"] == ()
  assert imported.objective["ema"]["start"] == 0.9998
  assert "CC-BY-NC" in imported.notes[-1]
  plain = read(
    tmp_path, checkpoints.vision(imagenet_default_mean_and_std=False)
  )
  assert plain.encoder["mean"] == plain.encoder["std"] == (0.5, 0.5, 0.5)
  # The weights alone tell the sizes.
  alone = {"module": checkpoints.vision()["model"]}
  sizes = read(tmp_path, alone, encoder_only=True)
  assert sizes.encoder.items() <= {**e, "drop_path": 0.0}.items() | {
    ("attention_dropout", 0.0)
  }
  assert "head" not in sizes.params and sizes.objective == {}


def test_image_classifier(tmp_path):
  state = checkpoints.image_classifier()
  imported = read(tmp_path, state)
  assert imported.encoder["positions"] == "relative_layers"
  assert imported.encoder["final_norm"] is False
  assert imported.objective["label_smoothing"] == 0.1
  params = imported.params
  table = params["blocks"]["relative_position_bias"]["table"]
  name = "blocks.2.attn.relative_position_bias_table"
  np.testing.assert_array_equal(table[2], state["model"][name])
  assert not params["mask_token"].any()
  x = np.random.default_rng(0).normal(size=(2, 196, 48)).astype(np.float32)
  ours = objective(imported, **QUIET["vision"]).head(params["head"], x, None)
  m = state["model"]
  mean = x.mean(1, dtype=np.float64)
  mean -= mean.mean(-1, keepdims=True)
  mean /= np.sqrt(mean.var(-1, keepdims=True) + 1e-6)
  theirs = (mean * m["fc_norm.weight"] + m["fc_norm.bias"]) @ m["head.weight"].T
  np.testing.assert_allclose(ours, theirs + m["head.bias"], atol=1e-5)
