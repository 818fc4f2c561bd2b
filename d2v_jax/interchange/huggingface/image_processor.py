"""Image processors of Hugging Face <-> how our runs prepare images.

Source: the behaviour of transformers' BeitImageProcessor, ViTImageProcessor,
DeiTImageProcessor, BitImageProcessor and CLIPImageProcessor.
"""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from d2v_jax.data.images.transform import RESIZE_RATIO
from d2v_jax.interchange.files import Folder, to_json
from d2v_jax.interchange.huggingface import preprocessor
from d2v_jax.interchange.options import Options

_BICUBIC = int(Image.Resampling.BICUBIC)
_BILINEAR = int(Image.Resampling.BILINEAR)
_EVERY = {
  "do_resize": True,
  "do_center_crop": False,
  "do_rescale": True,
  "rescale_factor": 1 / 255,
  "do_normalize": True,
  "size": 224,
  "crop_size": 224,
  "image_mean": [0.5],
  "image_std": [0.5],
  "default_to_square": True,
}
_CENTRE = {
  "do_center_crop": True,
  "resample": _BICUBIC,
  "image_mean": [0.48145466, 0.4578275, 0.40821073],
  "image_std": [0.26862954, 0.26130258, 0.27577711],
  "default_to_square": False,
}
# Beginning of a processor's name -> what its fields are where they are absent.
_KINDS: dict[str, dict[str, Any]] = {
  "Beit": {"resample": _BICUBIC},
  "ViT": {"resample": _BILINEAR},
  "DeiT": {"resample": _BICUBIC, "do_center_crop": True, "size": 256},
  "Bit": _CENTRE,
  "CLIP": _CENTRE,
}
_ENDS = (
  "FeatureExtractor",
  "ImageProcessor",
  "ImageProcessorFast",
  "ImageProcessorPil",
)
_NAMED = ("image_processor_type", "feature_extractor_type")
# They say how arrays are handed over, or act on maps of labels alone.
_HARMLESS = (
  "processor_class",
  "do_convert_rgb",
  "do_reduce_labels",
  "reduce_labels",
  "data_format",
  "input_data_format",
  "return_tensors",
  "device",
  "disable_grouping",
  "_valid_processor_keys",
)


# Arguments of the encoder, config.data and notes: see `read`.
Prepared = tuple[dict[str, tuple[float, ...]], dict[str, Any], list[str]]


def read(folder: Folder, image_size: int, channels: int) -> Prepared:
  """How the folder's images are prepared.

  Theirs is (image * rescale_factor - mean) / std, ours (image / 255 - mean) /
  std.

  Args:
    folder: that may have a processor.
    image_size: of the model, pixels.
    channels: of images.

  Returns:
    Arguments `mean` and `std` of `vit`; what config.data has for images to
    evaluate; and notes.

  Raises:
    InterchangeError: a field is damaged, or asks for what ours cannot do.
  """
  file, config = preprocessor.find(folder, "image_processor")
  if config is None:
    return unknown(file, channels)
  return of(config, image_size, channels)


def unknown(missing: str, channels: int) -> Prepared:
  """The same where nothing is said of it.

  Args:
    missing: what would say it, for the note.
    channels: of images.
  """
  kind = "mean 0.5 and std 0.5" if channels != 3 else "ImageNet's mean and std"
  note = (
    f"there is no {missing}: images are normalised by {kind}; their shorter "
    f"side becomes {RESIZE_RATIO:.3f} of the input's, and the middle is taken"
  )
  half: dict[str, tuple[float, ...]] = dict(mean=(0.5,), std=(0.5,))
  return {} if channels == 3 else half, {}, [note]


def of(config: Options, image_size: int, channels: int) -> Prepared:
  """The same of a processor's fields."""
  config = _with_defaults(config)
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
  data, notes = _resizing(config, image_size)
  names = {kind.value: kind.name.lower() for kind in Image.Resampling}
  number = config.integer("resample")
  if number not in names:
    raise config.error("resample", f"Pillow has only {_listed(names)}")
  data["resampling"] = names[number]
  return dict(mean=mean, std=std), data, notes


def write(
  encoder: dict[str, Any], data: Mapping[str, Any], channels: int
) -> tuple[bytes, list[str]]:
  """The file for the images of a run, and what it cannot say.

  Args:
    encoder: all arguments of `vit`.
    data: config.data.
    channels: of images.
  """
  side = encoder["image_size"]
  square = dict(height=side, width=side)
  mean, std = (
    list(encoder[k]) * (channels if len(encoder[k]) == 1 else 1)
    for k in ("mean", "std")
  )
  ratio = data.get("resize_ratio", RESIZE_RATIO)
  size: dict[str, int] = square
  if ratio is not None:
    larger = round(side * ratio)
    size = dict(shortest_edge=larger)
    if not data.get("keep_aspect", True):
      size = dict(height=larger, width=larger)
  resampling = data.get("resampling", "area")
  notes = []
  if resampling == "area":
    resampling = "bicubic"
    notes.append(
      "images that have to be resized: the processor does it by Pillow's "
      "bicubic filter, and the run by averages over areas (resampling='area'); "
      "features differ a little, see docs/convert.md"
    )
  content = dict(
    # It can resize the shorter side and cut the centre, as we do, or squeeze.
    image_processor_type="CLIPImageProcessor",
    do_convert_rgb=channels == 3,
    do_resize=True,
    size=size,
    resample=int(Image.Resampling[resampling.upper()]),
    do_center_crop=ratio is not None,
    crop_size=square,
    do_rescale=True,
    rescale_factor=1 / 255,
    do_normalize=True,
    image_mean=mean,
    image_std=std,
  )
  return to_json(content), notes


def _with_defaults(config: Options) -> Options:
  """The fields of a processor that is known, all that act among them."""
  name = next((config[k] for k in _NAMED if config[k] is not None), None)
  kinds = {f"{kind}{end}": kind for kind in _KINDS for end in _ENDS}
  named = "BeitImageProcessor" if name is None else name
  if not isinstance(named, str) or named not in kinds:
    field = next(k for k in _NAMED if config[k] is not None)
    what = ", ".join(f"{kind}ImageProcessor" for kind in _KINDS)
    raise config.error(field, f"only {what} can be imported")
  defaults = {**_EVERY, **_KINDS[kinds[named]]}
  preprocessor.require_known(config, (*defaults, *_NAMED, *_HARMLESS))
  given = {k: v for k, v in config.values.items() if v is not None}
  return Options({**defaults, **given}, config.where)


def _resizing(
  config: Options, side: int
) -> tuple[dict[str, float | bool | str | None], list[str]]:
  """config.data of resizing to images of the model's size, and notes."""
  crops = config.flag("do_center_crop")
  if crops and _sides(config, "crop_size", True) != (side, side):
    raise config.error("crop_size", f"the model has images of {side} pixels")
  if not config.flag("do_resize"):
    if crops:
      raise config.error(
        "do_resize", "this library resizes images before it takes the middle"
      )
    note = f"there images must be of {side} pixels; here others are resized"
    return {"resize_ratio": None}, [note]
  size = _sides(config, "size", config.flag("default_to_square"))
  if size == (side, side):
    return {"resize_ratio": None}, []
  if isinstance(size, tuple):
    larger = size[0]
    if not crops or size != (larger, larger) or larger < side:
      raise config.error("size", f"the model has images of {side} pixels")
    data = _ratio(config, larger, side)
    return {**data, "keep_aspect": False}, []
  if not crops:
    raise config.error(
      "do_center_crop", "what only has its shorter side resized is no square"
    )
  return _ratio(config, size, side), []


def _ratio(
  config: Options, size: int, side: int
) -> dict[str, float | bool | str | None]:
  """config.data.resize_ratio where images first become of a larger size."""
  if not side <= size <= 10 * side:
    raise config.error(
      "size", f"the shorter side must be {side} to {10 * side} pixels"
    )
  return {"resize_ratio": size / side}


def _sides(config: Options, name: str, square: bool) -> tuple[int, int] | int:
  """Height and width, or the shorter side.

  Args:
    config: of a processor.
    name: of the field: a number, or an object.
    square: a number is both sides.
  """
  value = config[name]
  if isinstance(value, dict):
    value = {k: v for k, v in value.items() if v is not None}
    if value.keys() == {"shortest_edge"} and _is_size(value["shortest_edge"]):
      return value["shortest_edge"]
    if value.keys() == {"height", "width"} and all(
      map(_is_size, value.values())
    ):
      return value["height"], value["width"]
  elif _is_size(value):
    return (value, value) if square else value
  raise config.error(
    name, "it must be height and width, or shortest_edge, in pixels"
  )


def _is_size(value: Any) -> bool:
  return type(value) is int and 1 <= value < 2**15


def _listed(names: Mapping[int, str]) -> str:
  return ", ".join(f"{k} ({v})" for k, v in sorted(names.items()))
