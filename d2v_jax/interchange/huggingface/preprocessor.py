"""preprocessor_config.json of images and of speech."""

from typing import Any

from d2v_jax.data.images.transform import ImageEvalTransform
from d2v_jax.data.speech.decoding import SAMPLE_RATE
from d2v_jax.interchange.files import Folder, to_json
from d2v_jax.interchange.options import Options

NAME = "preprocessor_config.json"
_IMAGES = {
  "do_rescale": True,
  "rescale_factor": 1 / 255,
  "do_normalize": True,
  "image_mean": [0.5],
  "image_std": [0.5],
}
_SPEECH = {
  "feature_size": 1,
  "sampling_rate": SAMPLE_RATE,
  "padding_side": "right",
  "do_normalize": True,
}


def read_images(
  folder: Folder, image_size: int, channels: int
) -> tuple[dict[str, tuple[float, ...]], list[str]]:
  """Arguments `mean` and `std` of `vit`, and notes.

  Theirs is (image * rescale_factor - mean) / std, ours (image / 255 - mean) /
  std.

  Args:
    folder: that may have the file.
    image_size: of the model, for a note where images are made another.
    channels: of images.

  Raises:
    InterchangeError: a field is damaged.
  """
  if not folder.has(NAME):
    rest = "images are normalised by mean 0.5 and std 0.5"
    if channels == 3:
      return {}, [f"there is no {NAME}: images are normalised as for ImageNet"]
    return dict(mean=(0.5,), std=(0.5,)), [f"there is no {NAME}: {rest}"]
  where = f"{folder.path / NAME}: config"
  config = Options(_IMAGES | folder.json(NAME), where)
  mean: tuple[float, ...] = (0.0,)
  std: tuple[float, ...] = (1.0,)
  if config.flag("do_normalize"):
    mean = config.numbers("image_mean", channels)
    std = config.numbers("image_std", channels, above=0.0)
  scale = 255.0
  if config.flag("do_rescale"):
    scale *= config.numbers("rescale_factor", 1, above=0.0)[0]
  if abs(scale - 1) > 1e-6:  # more than the last digits of a float
    mean, std = (tuple(x / scale for x in values) for values in (mean, std))
  size = config["crop_size" if config["do_center_crop"] is True else "size"]
  if isinstance(size, dict):
    size = size.get("height")
  notes = []
  if isinstance(size, int) and size != image_size:
    notes.append(
      f"{NAME} makes images of {size} pixels, the model has {image_size}"
    )
  return dict(mean=mean, std=std), notes


def write_images(encoder: dict[str, Any], channels: int) -> bytes:
  """The file for our evaluation's images.

  Args:
    encoder: all arguments of `vit`.
    channels: of images.
  """
  side = encoder["image_size"]
  mean, std = (
    list(encoder[k]) * (channels if len(encoder[k]) == 1 else 1)
    for k in ("mean", "std")
  )
  shorter = round(side * ImageEvalTransform(side).resize_ratio)
  return to_json(
    dict(
      # It resizes the shorter side and cuts the centre, as our evaluation does.
      image_processor_type="CLIPImageProcessor",
      do_convert_rgb=channels == 3,
      do_resize=True,
      size=dict(shortest_edge=shorter),
      resample=3,  # bicubic
      do_center_crop=True,
      crop_size=dict(height=side, width=side),
      do_rescale=True,
      rescale_factor=1 / 255,
      do_normalize=True,
      image_mean=mean,
      image_std=std,
    )
  )


def check_speech(folder: Folder) -> None:
  """Raises InterchangeError if audio is prepared in another way than ours."""
  if folder.has(NAME):
    config = Options(folder.json(NAME), f"{folder.path / NAME}: config")
    for name, value in _SPEECH.items():
      config.require(name, value)


def write_speech() -> bytes:
  """The file for audio that is prepared as ours is."""
  return to_json(
    dict(
      _SPEECH,
      feature_extractor_type="Wav2Vec2FeatureExtractor",
      padding_value=0.0,
      return_attention_mask=True,
    )
  )
