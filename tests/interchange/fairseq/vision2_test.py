"""data2vec 2.0 of images, and a classifier on top."""

import numpy as np
import pytest

from d2v_jax.interchange.weights import InterchangeError
from tests.interchange.fairseq import checkpoints2 as files
from tests.interchange.fairseq.reading import objective, read, same_encoder


def test_options_of_images(tmp_path):
  imported = read(tmp_path, files.pretrained("image"))
  assert imported.modality == "vision"
  assert imported.encoder == {
    "name": "visible_vit",
    "image_size": 224,
    "patch_size": 16,
    "width": 64,
    "prenet_depth": 1,
    "depth": 2,
    "num_heads": 4,
    "mlp_ratio": 4.0,
    "cls_token": True,
    "alibi": False,
    "norm_eps": 1e-6,
    "drop_path": 0.0,
    "attention_dropout": 0.0,
  }
  assert imported.objective == {
    "name": "data2vec2",
    "targets": {
      "output": "ffn",
      "top_k": 2,
      "layer_norms": ("instance",),
      "average_norms": ("layer",),
      "norm_padding": True,
    },
    "loss_beta": 0.0,
    "loss_scale": "rsqrt",
    "cls_loss": 0.06,
    "decoder": {
      "width": 64,
      "layers": 2,
      "kernel": 3,
      "groups": 16,
      "residual": True,
      "projection_layers": 1,
      "input_dropout": 0.0,
      "noise_std": 0.01,
      "initial": "torch",
      "positions": "none",
    },
    "ema": {
      "start": 0.9998,
      "end": 0.99999,
      "anneal_steps": 100_000,
      "tracked": (
        "feature_encoder",
        "cls_token",
        "prenet_norm",
        "prenet",
        "blocks",
      ),
    },
  }
  assert imported.data["mask"] == {
    "name": "inverse_blocks",
    "num_masks": 2,
    "ratio": 0.8,
    "adjust": 0.07,
    "length": 3,
  }
  assert "a sum over 3 x 2 rows is 0.06 of their mean" in imported.notes[0]
  assert "licence" in imported.notes[-1]
  single = files.pretrained("image", modality={"mask_length": 1})
  assert read(tmp_path, single).data["mask"] == {
    "name": "random_patches",
    "num_masks": 2,
    "num_masked": 157,
  }


def test_positions_that_are_others(tmp_path):
  state = files.pretrained("image")
  name = "modality_encoders.IMAGE.fixed_positional_encoder.positions"
  fixed = state["model"][name]
  # The halves of row and column change places.
  state["model"][name] = np.roll(fixed, 32, axis=-1)
  with pytest.raises(InterchangeError, match="not the sines and cosines"):
    read(tmp_path, state)
  state["model"][name] = fixed[:, :100]
  with pytest.raises(InterchangeError, match=r"\[1, 100, 64\]; 14 x 14 patch"):
    read(tmp_path, state)
  del state["model"][name]
  assert read(tmp_path, state).encoder["name"] == "visible_vit"
  state["model"]["_ema"][name] = fixed + 0.1
  with pytest.raises(InterchangeError, match="not the sines and cosines"):
    read(tmp_path, state)


def test_how_many_images_a_device_had(tmp_path):
  state = files.pretrained("image")
  del state["cfg"]["dataset"]
  with pytest.raises(InterchangeError, match="nothing says how many they wer"):
    read(tmp_path, state)
  alone = read(tmp_path, state, encoder_only=True)
  assert alone.objective == {} and "cls_token" in alone.params
  state["cfg"]["model"]["modalities"]["image"]["num_extra_tokens"] = 0
  state["cfg"]["dataset"] = {"batch_size": 3}
  with pytest.raises(InterchangeError, match="it has no extra token"):
    read(tmp_path, state)


def test_image_classifier(tmp_path):
  state = files.image_classifier()
  imported = read(tmp_path, state)
  assert imported.objective == {
    "name": "classification",
    "head": {
      "num_outputs": 5,
      "pool": "mean",
      "norm": True,
      "initial": "normal",
    },
    "label_smoothing": 0.1,
  }
  assert imported.encoder["drop_path"] == 0.2
  same_encoder(imported, files.pretrained("image"), tmp_path)
  x = np.random.default_rng(0).normal(size=(2, 196, 64)).astype(np.float32)
  ours = objective(imported).head(imported.params["head"], x, None)
  m = state["model"]
  mean = x.mean(1, dtype=np.float64)
  mean -= mean.mean(-1, keepdims=True)
  mean /= np.sqrt(mean.var(-1, keepdims=True) + 1e-6)
  theirs = (mean * m["fc_norm.weight"] + m["fc_norm.bias"]) @ m["head.weight"].T
  np.testing.assert_allclose(ours, theirs + m["head.bias"], atol=1e-5)
  for change in (
    dict(prediction_mode="CLS_TOKEN"),
    dict(prediction_mode="LIN_SOFTMAX"),
  ):
    with pytest.raises(InterchangeError, match="this library has only 'MEAN_P"):
      read(tmp_path, files.image_classifier(**change))
  plain = files.image_classifier(use_fc_norm=False, encoder_dropout=0.1)
  for name in ("fc_norm.weight", "fc_norm.bias"):
    del plain["model"][name]
  without = read(tmp_path, plain)
  assert set(without.params["head"]) == {"fc1"}
  assert "encoder_dropout=0.1 is 0.0 here" in without.notes[0]
