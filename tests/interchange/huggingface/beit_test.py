"""BEiT: hidden states as in transformers."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `parity` has torch")
transformers = pytest.importorskip(
  "transformers", reason="the extra `parity` has transformers"
)

from d2v_jax import config as config_lib  # noqa: E402
from d2v_jax.interchange.huggingface import folder as huggingface  # noqa: E402
from d2v_jax.interchange.huggingface import parity  # noqa: E402
from d2v_jax.interchange.weights import InterchangeError  # noqa: E402
from d2v_jax.modalities import MODALITIES  # noqa: E402
from tests.interchange.folders import edit  # noqa: E402
from tests.interchange.huggingface import live  # noqa: E402

LAYERS = live.VISION | dict(use_relative_position_bias=True)
SHARED = live.VISION | live.SHARED | dict(use_mask_token=True)


def random_beit(folder, kind, config):
  live.random(f"Beit{kind}", config).save_pretrained(folder)
  return huggingface.read(folder)


@pytest.mark.parametrize(
  "config", [LAYERS, SHARED, SHARED | dict(use_mean_pooling=False)]
)
def test_hidden_states(tmp_path, config):
  model = random_beit(tmp_path, "Model", config)
  theirs = transformers.AutoModel.from_pretrained(tmp_path).eval()
  images = np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32)
  with torch.no_grad():
    output = theirs(torch.from_numpy(images), output_hidden_states=True)
  network = config_lib.build(
    model.encoder, MODALITIES["vision"].encoders, "encoder"
  )
  ours = network(model.params, {"inputs": images.transpose(0, 2, 3, 1)})
  assert len(ours.block) == len(output.hidden_states) - 1
  for k, expected in enumerate(output.hidden_states[1:]):
    live.assert_close(ours.block_cls[k], expected.numpy()[:, 0])
    live.assert_close(ours.block[k], expected.numpy()[:, 1:])
  live.assert_close(ours.tokens, output.last_hidden_state.numpy()[:, 1:])
  differences, _ = parity.check(tmp_path, model)
  assert max(differences.values()) < live.TOLERANCE, differences


@pytest.mark.parametrize(
  "kind", ["ForImageClassification", "ForMaskedImageModeling"]
)
def test_heads(tmp_path, kind):
  names = {0: "cat", 1: "dog", 2: "cow"}
  model = random_beit(tmp_path, kind, LAYERS | dict(id2label=names))
  differences, reason = parity.check(tmp_path, model)
  assert reason == "" and max(differences.values()) < live.TOLERANCE
  classifies = kind == "ForImageClassification"
  assert ("logits" in differences) == classifies
  classes = ("cat", "dog", "cow") if classifies else None
  assert model.data.get("classes") == classes


def test_what_is_refused(tmp_path):
  random_beit(tmp_path, "Model", LAYERS)
  edit(tmp_path, hidden_act="relu")
  with pytest.raises(InterchangeError, match=r"config.hidden_act='relu'"):
    huggingface.read(tmp_path)
