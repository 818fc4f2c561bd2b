"""ViT: hidden states and features as in transformers."""

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the extra `parity` has torch")
transformers = pytest.importorskip(
  "transformers", reason="the extra `parity` has transformers"
)

from d2v_jax import config as config_lib  # noqa: E402
from d2v_jax.data.images.dataset import ImageData  # noqa: E402
from d2v_jax.data.images.image_files import ImageFolder  # noqa: E402
from d2v_jax.interchange.huggingface import folder as huggingface  # noqa: E402
from d2v_jax.interchange.huggingface import parity  # noqa: E402
from d2v_jax.interchange.weights import InterchangeError  # noqa: E402
from d2v_jax.modalities import MODALITIES  # noqa: E402
from tests.data.images.pictures import picture  # noqa: E402
from tests.interchange.folders import edit  # noqa: E402
from tests.interchange.huggingface import live  # noqa: E402

SQUARE = {"height": 32, "width": 32}


@pytest.fixture
def folder(tmp_path):
  live.random("ViTModel", live.VISION).save_pretrained(tmp_path / "hf")
  processor = transformers.ViTImageProcessor(size=SQUARE, resample=2)
  processor.save_pretrained(tmp_path / "hf")
  return tmp_path / "hf"


def test_hidden_states_of_photos(folder, tmp_path):
  (tmp_path / "photos").mkdir()
  photos = [Image.fromarray(picture(*s)) for s in ((67, 45), (33, 90))]
  for k, image in enumerate(photos):
    image.save(tmp_path / f"photos/{k}.png")
  processor = transformers.AutoImageProcessor.from_pretrained(folder)
  theirs = transformers.AutoModel.from_pretrained(folder).eval()
  with torch.no_grad():
    output = theirs(
      **processor(images=photos, return_tensors="pt"), output_hidden_states=True
    )
  model = huggingface.read(folder)
  network = config_lib.build(
    model.encoder, MODALITIES["vision"].encoders, "encoder"
  )
  data = ImageData(inputs=network.inputs, **model.data)
  source, transform = data.evaluation(
    ImageFolder(str(tmp_path / "photos")), "x"
  )
  inputs = np.stack([transform(source[i])["inputs"] for i in range(2)])
  ours = network(model.params, {"inputs": inputs})
  assert len(ours.block) == len(output.hidden_states) - 1
  for k, expected in enumerate(output.hidden_states[1:]):
    live.assert_close(ours.block_cls[k], expected.numpy()[:, 0])
    live.assert_close(ours.block[k], expected.numpy()[:, 1:])
  live.assert_close(ours.tokens, output.last_hidden_state.numpy()[:, 1:])


@pytest.mark.parametrize("head", ["ImageClassification", "MaskedImageModeling"])
def test_heads_are_left_out(folder, head):
  live.random(
    f"ViTFor{head}", live.VISION | dict(encoder_stride=8)
  ).save_pretrained(folder)
  model = huggingface.read(folder)
  assert "ours has none such" in str(model.notes) and not model.objective
  differences, reason = parity.check(folder, model)
  assert reason == "" and max(differences.values()) < live.TOLERANCE
  model.params["blocks"]["norm1"]["bias"][1] += 0.01
  differences, _ = parity.check(folder, model)
  assert differences["block 2"] > live.TOLERANCE


@pytest.mark.parametrize(
  "fields, message",
  [
    ({"qkv_bias": False}, "qkv_bias=False: this library has only True"),
    ({"hidden_act": "gelu_pytorch_tanh"}, "hidden_act='gelu_pytorch_tanh'"),
    ({"image_size": [32, 64]}, "must be the same for height and width"),
  ],
)
def test_what_is_refused(folder, fields, message):
  edit(folder, **fields)
  with pytest.raises(InterchangeError, match=message):
    huggingface.read(folder)
