import numpy as np
import pytest

from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError
from d2v_jax.data import layout
from d2v_jax.data.images.arrays import ImageArrayFiles, ImageArrays
from d2v_jax.data.images.dataset import ImageData

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 8, 8), dtype=np.uint8)
RGB = RNG.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)


def test_files(tmp_path):
  np.savez(tmp_path / "x.npz", x=RGB, y=[2, 0, 1, 2, 0])
  path = str(tmp_path / "x.npz")
  source = ImageArrayFiles(path, image="x", label="y")
  assert len(source) == 5 and source.class_names == ("0", "1", "2")
  assert source.record_name(3) == f"{path}[3]"
  assert source[3]["label"] == 2 and source.labels == [2, 0, 1, 2, 0]
  np.testing.assert_array_equal(source[3]["image"], RGB[3])
  source = ImageArrayFiles(path, "x", "y", classes=("cat", "dog", "cow"))
  assert source.class_names == ("cat", "dog", "cow")
  # The usual label may be missing.
  assert ImageArrayFiles(path, "x").labels is None


def test_lists_of_different_sizes():
  source = ImageArrays({"image": [GREY[0], RGB[1, :5]]}, "given")
  assert [source[i]["image"].shape for i in (0, 1)] == [(8, 8, 1), (5, 8, 3)]
  assert "label" not in source[0] and source.class_names == ()


@pytest.mark.parametrize(
  ("arrays", "message"),
  [
    (
      {"x": GREY},
      "there is no array 'image', only x; set image to one of them",
    ),
    (
      {"image": GREY[0, 0]},
      r"shape \[8\]; it must be \[n, H, W\] or \[n, H, W",
    ),
    ({"image": [GREY[0, 0]]}, r"'image', row 0, has the shape \[8\]; it must "),
    (
      {"image": np.moveaxis(RGB, 3, 1)},
      r"\[5, 3, 8, 8\], with the channels in front; put them last: np.moveax",
    ),
    ({"image": np.zeros((2, 8, 8, 0))}, r"shape \[2, 8, 8, 0\]; .*C 1 to 1024"),
    ({"image": GREY > 3}, "'image' has the type bool; it must be of unsigned"),
    ({"image": [GREY[0], GREY[0] > 3]}, "'image', row 1, has the type bool"),
    (
      {"image": GREY, "label": [1]},
      "all as many, at least 1: image has 5, lab",
    ),
    ({"image": GREY[:0]}, "at least 1: image has 0"),
    ({"image": GREY, "label": [-1] * 5}, "ImageArrays: 'label': the label of"),
  ],
)
def test_errors(arrays, message):
  with pytest.raises(ValueError, match=message):
    ImageArrays(arrays, "given")


def build(path, **fields):
  return config_lib.call(
    ImageData,
    {
      "source": {"name": "arrays", "path": str(path)},
      "augment": {"crop_scale": None, "color_jitter": None, "flip": 0.0},
      "channels": 1,
      **fields,
    },
    "config.data",
    run={"inputs": layout.ImageInputs(image_size=8, patch_size=2)},
  )


@pytest.mark.parametrize(
  ("array", "span"),
  [
    (GREY, None),
    (GREY.astype(np.uint16) * 257, (0, 65535)),
    (GREY / np.float32(255), (0, 1)),
    (GREY.astype(np.int16) - 128, (-128, 127)),
  ],
)
def test_depth_follows_the_rule_of_range(array, span, tmp_path):
  np.save(tmp_path / "x.npy", array)
  data = build(tmp_path / "x.npy", range=span)
  data.check()
  source, transform = data.training()
  row = transform(source[2], np.random.default_rng(0))
  np.testing.assert_array_equal(row["inputs"][..., 0], GREY[2])
  if span is not None:
    message = (
      r"none of the 5 records .*x.npy\[0\]: its values are .* set config"
    )
    with pytest.raises(ValueError, match=message):
      build(tmp_path / "x.npy").training().source[0]


def test_errors_name_the_field(tmp_path):
  np.save(tmp_path / "x.npy", GREY[0, 0])
  with pytest.raises(
    ConfigError, match=r"config.data.source: ImageArrays: 'im"
  ):
    build(tmp_path / "x.npy").training()
