"""preprocessor_config.json of images <-> the encoder's mean and std."""

from typing import Any

from d2v_jax.data.images.transform import ImageEvalTransform
from d2v_jax.interchange.files import Folder, to_json
from d2v_jax.interchange.huggingface.fields import Fields, near

NAME = "preprocessor_config.json"
_DEFAULTS = {
  "do_rescale": True,
  "rescale_factor": 1 / 255,
  "do_normalize": True,
  "image_mean": [0.5],
  "image_std": [0.5],
}


def read(
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
  fields = Fields(folder.json(NAME), _DEFAULTS, str(folder.path / NAME))
  mean, std = (0.0,), (1.0,)
  if fields.flag("do_normalize"):
    mean = fields.numbers("image_mean", channels)
    std = fields.numbers("image_std", channels, above=0.0)
  scale = 255.0
  if fields.flag("do_rescale"):
    scale *= fields.numbers("rescale_factor", 1, above=0.0)[0]
  if not near(scale, 1.0):
    mean, std = (tuple(x / scale for x in values) for values in (mean, std))
  size = fields["crop_size" if fields["do_center_crop"] is True else "size"]
  if isinstance(size, dict):
    size = size.get("height")
  notes = []
  if isinstance(size, int) and size != image_size:
    notes.append(
      f"{NAME} makes images of {size} pixels, the model has {image_size}"
    )
  return dict(mean=mean, std=std), notes


def write(encoder: dict[str, Any], channels: int) -> bytes:
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
