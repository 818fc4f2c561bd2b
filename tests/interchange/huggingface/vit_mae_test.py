"""ViT-MAE: hidden states of all patches, as in transformers."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `parity` has torch")
transformers = pytest.importorskip(
  "transformers", reason="the extra `parity` has transformers"
)

from d2v_jax import config as config_lib  # noqa: E402
from d2v_jax.interchange.huggingface import folder as huggingface  # noqa: E402
from d2v_jax.interchange.huggingface import parity  # noqa: E402
from d2v_jax.modalities import MODALITIES  # noqa: E402
from tests.interchange.huggingface import live  # noqa: E402

MAE = live.VISION | dict(
  decoder_num_attention_heads=2,
  decoder_hidden_size=16,
  decoder_num_hidden_layers=1,
  decoder_intermediate_size=16,
)


def test_hidden_states(tmp_path):
  live.random("ViTMAEModel", MAE).save_pretrained(tmp_path)
  model = huggingface.read(tmp_path)
  # What is hidden there is drawn anew in each call: here nothing is.
  theirs = transformers.AutoModel.from_pretrained(tmp_path, mask_ratio=0.0)
  images = np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32)
  with torch.no_grad():
    output = theirs.eval()(
      torch.from_numpy(images),
      noise=torch.arange(16.0).repeat(2, 1),
      output_hidden_states=True,
    )
  network = config_lib.build(
    model.encoder, MODALITIES["vision"].encoders, "encoder"
  )
  ours = network(model.params, {"inputs": images.transpose(0, 2, 3, 1)})
  assert len(ours.block) == len(output.hidden_states) - 1
  for k, expected in enumerate(output.hidden_states[1:]):
    live.assert_close(ours.block_cls[k], expected.numpy()[:, 0])
    live.assert_close(ours.block[k], expected.numpy()[:, 1:])
  live.assert_close(ours.tokens, output.last_hidden_state.numpy()[:, 1:])


def test_its_decoder_is_left_out(tmp_path):
  live.random("ViTMAEForPreTraining", MAE).save_pretrained(tmp_path)
  model = huggingface.read(tmp_path)
  assert "ours has none such" in str(model.notes) and not model.objective
  differences, reason = parity.check(tmp_path, model)
  assert reason == "" and max(differences.values()) < live.TOLERANCE
  model.params["blocks"]["norm1"]["bias"][1] += 0.01
  differences, _ = parity.check(tmp_path, model)
  assert differences["block 2"] > live.TOLERANCE
