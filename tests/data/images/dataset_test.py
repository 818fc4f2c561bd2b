import numpy as np
import pytest
from PIL import Image

from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError
from d2v_jax.data import layout
from d2v_jax.data.images import cropping
from d2v_jax.data.images.dataset import ImageData
from tests.data.images.pictures import encoded, smooth

PLAIN = {"crop_scale": None, "color_jitter": None, "flip": 0.0}


def build(folder, **fields):
  fields = {"augment": PLAIN, **fields}
  source = {"name": "folder", "path": str(folder)}
  return config_lib.call(
    ImageData,
    {"source": source, **fields},
    "config.data",
    run={"inputs": layout.ImageInputs(image_size=8, patch_size=2)},
  )


def test_training_and_evaluation_scale_alike(tmp_path):
  deep = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
  (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(deep), "PNG"))
  data = build(tmp_path, channels=1, range=[0, 4095], resize_ratio=None)
  truth = np.rint(deep[..., None] / 4095 * 255)
  examples = data.training()
  row = examples.transform(examples.source[0], np.random.default_rng(0))
  np.testing.assert_array_equal(row["inputs"], truth)
  records = data.open(data.source, "config.evaluation.test")
  shown = data.evaluation(records, "config.evaluation")
  row = shown.transform(shown.source[0])
  np.testing.assert_array_equal(row["inputs"], truth)
  with pytest.raises(ValueError, match=r"a.png: .* set config.data.range"):
    build(tmp_path, channels=1).training().source[0]


def test_four_channels(tmp_path):
  four = Image.fromarray(smooth(8, 8, channels=4))
  (tmp_path / "a.png").write_bytes(encoded(four, "PNG"))
  data = build(tmp_path, channels=4)
  assert data.blank()["image"].shape == (8, 8, 4)
  examples = data.training()
  row = examples.transform(examples.source[0], np.random.default_rng(0))
  np.testing.assert_array_equal(row["inputs"], np.asarray(four))
  jitter = {**PLAIN, "color_jitter": (0.4, 0.4, 0.4)}
  with pytest.raises(ConfigError, match="4 channels have no colours to cha"):
    build(tmp_path, channels=4, augment=jitter).check()


def test_bands_of_a_satellite(tmp_path):
  """Six channels of twelve bits, cropped and brought to another size."""
  bands = np.stack(
    [smooth(12, 10, channels=1, seed=k)[..., 0] for k in range(6)]
  )
  images = bands.transpose(1, 2, 0)[None].astype(np.uint16) * 16
  np.save(tmp_path / "bands.npy", images)
  data = build(
    tmp_path,
    source={"name": "arrays", "path": str(tmp_path / "bands.npy")},
    channels=6,
    range=[0, 4080],
  )
  examples = data.training()
  np.testing.assert_array_equal(examples.source[0]["image"], images[0] // 16)
  row = examples.transform(examples.source[0], np.random.default_rng(0))
  assert row["inputs"].shape == (8, 8, 6)
  for k, band in enumerate(bands):
    alone = cropping.resize(band[..., None], (8, 8))[..., 0]
    np.testing.assert_array_equal(row["inputs"][..., k], alone)
  with pytest.raises(
    ValueError, match=r"6 channels, not 4 as config.data.chann"
  ):
    _ = build(tmp_path, source=data.source, channels=4).training().source[0]
  colour = build(tmp_path, source=data.source, range=[0, 4080]).training()
  with pytest.raises(
    ValueError, match=r"6 channels, not 3 as config.data.chann"
  ):
    _ = colour.source[0]


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"channels": 0}, "config.data: images: channels must be 1 to 1024, got 0"),
    ({"range": (5, 5)}, r"config.data: range must be the two .*\(5, 5\)"),
    ({"range": (0, float("inf"))}, "range must be the two values"),
    ({"background": 256}, "background must be 0 to 255, got 256"),
    ({"max_pixels": 0}, "max_pixels must be 1 to 1073741824, got 0"),
  ],
)
def test_errors(tmp_path, fields, message):
  with pytest.raises(ConfigError, match=message):
    build(tmp_path, **fields)


def test_images_become_squares():
  inputs = layout.ImageInputs(image_size=(8, 12), patch_size=2)
  with pytest.raises(ConfigError, match=r"become squares, got \(8, 12\)"):
    config_lib.call(ImageData, {}, "config.data", run={"inputs": inputs})
