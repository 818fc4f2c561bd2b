"""Image processors: what is read, written and refused."""

import json

import numpy as np
import pytest

from d2v_jax.interchange.huggingface import folder as huggingface
from d2v_jax.interchange.weights import InterchangeError
from tests.interchange import small_models
from tests.interchange.folders import edit

NAME = "preprocessor_config.json"
SQUARE = {"height": 16, "width": 16}


@pytest.mark.parametrize(
  "fields, mean, std",
  [
    ({"image_mean": [0.1, 0.2, 0.3]}, (0.1, 0.2, 0.3), (0.229, 0.224, 0.225)),
    ({"do_normalize": False}, (0.0,), (1.0,)),
    ({"image_mean": 51.0, "image_std": 255.0, "do_rescale": False}, 0.2, 1.0),
    ({"rescale_factor": 2 / 255, "image_mean": 1.0, "image_std": 2.0}, 0.5, 1),
  ],
)
def test_images_are_normalised_as_theirs(exported, fields, mean, std):
  folder = exported("vision")
  edit(folder, NAME, **fields)
  encoder = huggingface.read(folder).encoder
  np.testing.assert_allclose(encoder["mean"], np.atleast_1d(mean), atol=1e-7)
  np.testing.assert_allclose(encoder["std"], np.atleast_1d(std), atol=1e-7)
  edit(folder, NAME, image_std=[0.5, 0.5])
  if fields.get("do_normalize", True):
    with pytest.raises(InterchangeError, match=r"image_std=.* 1 or 3 numbers"):
      huggingface.read(folder)


@pytest.mark.parametrize(
  "fields, ratio, resampling",
  [
    ({}, 18 / 16, "bicubic"),
    ({"resample": 2}, 18 / 16, "bilinear"),
    ({"do_center_crop": False, "size": SQUARE}, None, "bicubic"),
    ({"do_center_crop": None, "size": {"shortest_edge": 20}}, 1.25, "bicubic"),
    (
      {"image_processor_type": "BeitFeatureExtractor", "do_center_crop": False}
      | {"size": 16, "crop_size": 224, "resample": 1},
      None,
      "lanczos",
    ),
    ({"do_resize": False, "do_center_crop": False}, None, "bicubic"),
  ],
)
def test_images_are_resized_as_theirs(exported, fields, ratio, resampling):
  folder = exported("vision")
  edit(folder, NAME, **fields)
  expected = {"resize_ratio": ratio, "resampling": resampling}
  assert huggingface.read(folder).data == expected
  # The same in the file that transformers 5 writes of several parts.
  content = json.loads((folder / NAME).read_text())
  whole = {"processor_class": "X", "image_processor": content}
  (folder / "processor_config.json").write_text(json.dumps(whole))
  edit(folder, NAME, resample=0)  # transformers does not look here then
  assert huggingface.read(folder).data == expected


@pytest.mark.parametrize(
  "fields, message",
  [
    ({"crop_size": 224}, "crop_size=224: the model has images of 16 pixels"),
    ({"do_center_crop": False}, "do_center_crop=False: .* is no square"),
    (
      {"do_center_crop": False, "size": {"height": 16, "width": 20}},
      "size=.*'width': 20.: the model has images of 16 pixels",
    ),
    ({"size": SQUARE | {"longest_edge": 99}}, "size=.* or shortest_edge"),
    ({"size": {"shortest_edge": 12}}, "the shorter side must be 16 to 160"),
    ({"do_resize": False}, "do_resize=False: .* before it takes the middle"),
    ({"resample": 9}, r"resample=9: Pillow has only 0 \(nearest\)"),
    ({"do_flip_channel_order": True}, "do_flip_channel_order=True: it is not"),
    ({"size": SQUARE | {"height": 20}}, "the model has images of 16 pixels"),
    ({"size": {"height": 12, "width": 12}}, "the model has images of 16"),
    ({"size": {"height": 170, "width": 170}}, "must be 16 to 160 pixels"),
    ({"pad_size": 8}, "pad_size=8: it is not known what this field does"),
    ({"image_processor_type": "DonutImageProcessor"}, "only BeitImageProcess"),
  ],
)
def test_what_changes_images_otherwise_is_refused(exported, fields, message):
  folder = exported("vision")
  edit(folder, NAME, **fields)
  with pytest.raises(InterchangeError, match=message):
    huggingface.read(folder)


@pytest.mark.parametrize("size", [24, {"height": 24, "width": 24}])
def test_both_sides_are_resized_before_the_middle_is_taken(exported, size):
  folder = exported("vision")
  content = {"image_processor_type": "DeiTImageProcessor"}
  content |= {"crop_size": 16, "size": size}
  (folder / NAME).write_text(json.dumps(content))
  model = huggingface.read(folder)
  assert model.data == {
    "resize_ratio": 1.5,
    "keep_aspect": False,
    "resampling": "bicubic",
  }
  assert model.encoder["mean"] == (0.5,)


def test_what_is_harmless(exported):
  folder = exported("vision")
  plain = huggingface.read(folder).data
  edit(folder, NAME, do_reduce_labels=True, do_pad=False, processor_class="X")
  assert huggingface.read(folder).data == plain
  (folder / NAME).unlink()
  notes = str(huggingface.read(folder).notes)
  assert "normalised by ImageNet's mean and std; their shorter side" in notes


@pytest.mark.parametrize(
  "data, fields",
  [
    ({}, dict(size={"shortest_edge": 18}, resample=3, do_center_crop=True)),
    (
      {"resize_ratio": None, "resampling": "bilinear"},
      dict(size=SQUARE, resample=2, do_center_crop=False),
    ),
    (
      {"resize_ratio": 1.25, "keep_aspect": False, "resampling": "bicubic"},
      dict(size={"height": 20, "width": 20}, do_center_crop=True),
    ),
  ],
)
def test_what_is_written(tmp_path, data, fields):
  model = small_models.make("vision")
  model.data.update(data)
  notes = huggingface.write(tmp_path / "a", model)
  content = json.loads((tmp_path / "a" / NAME).read_text())
  assert fields.items() <= content.items()
  assert ("resampling='area'" in str(notes)) == (not data)
  assert huggingface.read(tmp_path / "a").data == data


def test_preparation_that_was_changed_counts(tmp_path):
  """Not what our own files beside it remember."""
  huggingface.write(tmp_path / "a", small_models.make("vision"))
  edit(tmp_path / "a", NAME, resample=2)
  model = huggingface.read(tmp_path / "a")
  assert model.data["resampling"] == "bilinear"
  assert "changed since" in str(model.notes)
