"""data2vec 2.0 <-> folders that transformers opens with code beside them.

transformers has no such network, so a file of plain PyTorch lies in the folder.
That file is never run here: what a folder has is read from its config.json.
"""

from typing import Any

from d2v_jax import config as config_lib
from d2v_jax.data.labels import LABELS
from d2v_jax.data.layout import PAD
from d2v_jax.interchange.huggingface import (
  audio_processor,
  ctc,
  image_processor,
  preprocessor,
  text_tokenizer,
)
from d2v_jax.interchange.huggingface.parts import (
  PROBLEMS,
  Incoming,
  Outgoing,
  Written,
  class_fields,
  refuse,
  sizes,
)
from d2v_jax.interchange.model import Foreign
from d2v_jax.interchange.options import Options
from d2v_jax.interchange.plain_torch import network
from d2v_jax.models.positions import alibi_slopes

MODEL_TYPE = "data2vec2"
PREFIX = "data2vec2"
# Architecture -> modality.
_MODALITIES = {name: modality for modality, name in network.CLASSES.items()}
BASE = network.CLASSES["vision"]
# Architecture -> names of its head, if that is left out.
ARCHITECTURES = dict.fromkeys(_MODALITIES)
DEFAULTS: dict[str, Any] = {}
# The classes of transformers that look for classifiers, and for one of scores.
_CLASSIFIERS = {
  "vision": "AutoModelForImageClassification",
  "speech": "AutoModelForAudioClassification",
  "text": "AutoModelForSequenceClassification",
}
_CTC = "AutoModelForCTC"
_LARGEST_GRID = 96


def read(theirs: Incoming) -> Foreign:
  """Reads a folder that `write` has made.

  Raises:
    InterchangeError: it describes no network of ours.
  """
  config, folder = theirs.config, theirs.folder
  modality = _MODALITIES[theirs.architecture]
  file = network.file(modality)
  _check_code(config, modality)
  notes = []
  if folder.has(file.name) and folder.read(file.name) != file.read_bytes():
    notes.append(
      f"{file.name} is not this version's; it was not run, and nobody knows "
      "what it computes"
    )
  encoder = sizes(config) | {
    "name": f"visible_{'vit' if modality == 'vision' else modality}",
    "prenet_depth": config.integer("num_prenet_layers", most=1000),
  }
  slopes = config["alibi_slopes"]
  encoder["alibi"] = slopes is not None
  if slopes not in (None, alibi_slopes(encoder["num_heads"]).tolist()):
    raise config.error("alibi_slopes", "ours are others for so many heads")
  objective, data = _objective(config)
  encoder |= _READERS[modality](config)
  files: dict[str, bytes] = {}
  if modality == "vision":
    images = config.integer("num_channels", least=1, most=64)
    size = encoder["image_size"]
    mean_std, more, said = image_processor.read(folder, size, images)
    encoder |= mean_std
    data |= more if images == 3 else {"channels": images, **more}
  elif modality == "speech":
    more, said = audio_processor.read(folder)
    data |= more
    if objective.get("name") == "ctc":
      _, labels, other = ctc.read(config, folder)
      data |= {"labels": labels} if labels else {}
      said += other
  else:
    more, files, said = text_tokenizer.read(folder, encoder["vocab_size"])
    data |= more
  return Foreign(
    modality=modality,
    encoder=encoder,
    objective=objective,
    arrays=theirs.arrays,
    rules=network.rules(modality, encoder.get("patch_size", 1)),
    channels=config.integer("num_channels", 3, least=1, most=64),
    data=data,
    files=files,
    notes=(*notes, *said),
  )


def write(ours: Outgoing) -> Written:
  """Writes a model of data2vec 2.0.

  Raises:
    InterchangeError: a setting cannot be expressed.
  """
  model, encoder, head = ours.model, ours.encoder, ours.head
  modality = model.modality
  config = network.settings(modality, encoder, head, ours.params)
  arrays = network.weights(modality, encoder, ours.params)
  file = network.file(modality)
  code = {
    "AutoConfig": f"{file.stem}.Data2Vec2Config",
    "AutoModel": f"{file.stem}.{network.CLASSES[modality]}",
  }
  name = model.objective.get("name", "")
  if head is not None:
    looks = _CTC if name == "ctc" else _CLASSIFIERS[modality]
    code[looks] = code["AutoModel"]
  files = {file.name: file.read_bytes()}
  notes: list[str] = []
  if modality == "vision":
    if not isinstance(encoder["image_size"], int):
      why = "its processors make squares"
      raise refuse("encoder.image_size", encoder["image_size"], why)
    prepared, notes = image_processor.write(
      encoder, model.data, config["num_channels"]
    )
    files[preprocessor.NAME] = prepared
  elif modality == "speech":
    files[preprocessor.NAME] = audio_processor.write()
    if name == "ctc":
      config |= {"vocab_size": head.num_outputs, "pad_token_id": 0}
      if spec := model.data.get("labels"):
        labels = config_lib.build(spec, LABELS, "config.data.labels")
        files |= ctc.write(labels)
  else:
    if text_tokenizer.is_foreign(model.files):
      why = "ids there are RoBERTa's"
      raise refuse("data.tokenizer", model.data.get("tokenizer"), why)
    files |= text_tokenizer.write(model.files, encoder["max_tokens"])
  return Written({"auto_map": code, **config}, arrays, files, tuple(notes))


def _check_code(config: Options, modality: str) -> None:
  """Raises unless the folder's code is said to be the file that ours have."""
  code, stem = config["auto_map"], network.file(modality).stem
  named = code.values() if isinstance(code, dict) else [code]
  if not all(isinstance(x, str) and x.startswith(f"{stem}.") for x in named):
    raise config.error("auto_map", "code of its own is never run")


def _objective(config: Options) -> tuple[dict[str, Any], dict[str, Any]]:
  """config.objective of the head, and config.data with its classes."""
  if config["head"] is None:
    return {}, {}
  head = config.section("head")
  outputs = head.integer("num_outputs", least=1)
  if head["pool"] is None:
    return {"name": "ctc", "head": {"num_outputs": outputs}}, {}
  problems = {theirs: ours for ours, theirs in PROBLEMS.items()}
  name = config.choice("problem_type", PROBLEMS["classification"], problems)
  arguments = {
    "num_outputs": outputs,
    "pool": head.choice("pool", "mean", {"mean": "mean", "first": "first"}),
    "hidden": head.flag("hidden"),
    "norm": head.flag("norm"),
    "norm_eps": head.number("norm_eps", least=0, most=1),
  }
  return {"name": name, "head": arguments}, class_fields(config)


def _images(config: Options) -> dict[str, Any]:
  patch = config.integer("patch_size", least=1, most=1024)
  sides = config.integers("image_size", patch * _LARGEST_GRID)
  if len(sides) != 2 or sides[0] != sides[1]:
    raise config.error("image_size", "it must be two equal sides")
  return {
    "image_size": sides[0],
    "patch_size": patch,
    "cls_token": config.flag("cls_token"),
  }


def _speech(config: Options) -> dict[str, Any]:
  layers = config["conv_layers"]
  if not isinstance(layers, list) or not 1 <= len(layers) <= 64:
    raise config.error("conv_layers", "it must be a list of layers")
  one = [Options({"layer": layer}, config.where) for layer in layers]
  depth = config.integer("position_depth", least=1, most=64)
  kernel = config.integer("position_kernel", least=3, most=4096)
  zeroed = config.integer("zeroed_positions")
  if zeroed not in (0, depth):
    raise config.error("zeroed_positions", f"it must be 0 or {depth}")
  return {
    "conv_layers": tuple(x.integers("layer", 1 << 16) for x in one),
    "conv_bias": config.flag("conv_bias"),
    "position_depth": depth,
    "position_width": kernel * depth,
    "position_groups": config.integer("position_groups", least=1),
    "isolate_padding": zeroed > 0,
  }


def _text(config: Options) -> dict[str, Any]:
  config.require("pad_token_id", PAD)
  return {
    "vocab_size": config.integer("vocab_size", least=PAD + 1, most=1 << 24),
    "max_tokens": config.integer("max_tokens", least=1, most=1 << 16),
    "scale_embedding": config.flag("scale_embedding"),
    "embedding_norm": config.flag("embedding_norm"),
  }


_READERS = {"vision": _images, "speech": _speech, "text": _text}
