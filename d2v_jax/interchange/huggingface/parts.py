"""What the modalities of a Hugging Face folder share, both ways."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from d2v_jax.interchange.files import Folder
from d2v_jax.interchange.model import Model, mlp_ratio
from d2v_jax.interchange.options import Options
from d2v_jax.interchange.weights import Arrays, InterchangeError, Tree
from d2v_jax.models.heads import LinearHead
from d2v_jax.models.pooled_head import PooledHead

# Buffers that files of older versions hold beside the parameters.
BUFFERS = (
  r"(.*\.)?position_ids",
  r"(.*\.)?token_type_ids",
  r"(.*\.)?relative_position_index",
  r"(.*\.)?num_batches_tracked",
)
# Objective of ours -> `problem_type` of theirs.
PROBLEMS = {
  "classification": "single_label_classification",
  "multi_label": "multi_label_classification",
  "regression": "regression",
}
# Objectives whose head comes along.
HEADS: dict[str, Callable[..., Any]] = {
  "ctc": LinearHead,
  "classification": PooledHead,
  "multi_label": PooledHead,
  "regression": PooledHead,
}


@dataclasses.dataclass(frozen=True)
class Incoming:
  """A model of theirs.

  Attributes:
    config: config.json, with the library's defaults.
    architecture: the class that wrote it.
    arrays: weights without the model's prefix.
    folder: for the files of a preprocessor, a vocabulary or a tokenizer.
  """

  config: Options
  architecture: str
  arrays: Arrays
  folder: Folder


@dataclasses.dataclass(frozen=True)
class Outgoing:
  """A model of ours.

  Attributes:
    model: with `data` and `files`.
    encoder: all arguments of its encoder.
    head: of its supervised objective, or None.
    architecture: the class that is to open it.
    params: of the encoder, and `head` if there is one.
  """

  model: Model
  encoder: dict[str, Any]
  head: Any
  architecture: str
  params: Tree


@dataclasses.dataclass(frozen=True)
class Written:
  """A model of ours, its parts named in Hugging Face's terms.

  Attributes:
    config: config.json, but for what says which model it is.
    arrays: by PyTorch's names, without the model's prefix.
    files: name -> bytes of the others, such as preprocessor_config.json.
    notes: what a user of the folder must know.
  """

  config: dict[str, Any]
  arrays: Arrays
  files: dict[str, bytes]
  notes: tuple[str, ...] = ()


def sizes(config: Options) -> dict[str, Any]:
  """Arguments that the encoders of all modalities have."""
  width = config.integer("hidden_size", least=1)
  hidden = config.integer("intermediate_size", least=1)
  return dict(
    width=width,
    depth=config.integer("num_hidden_layers", least=1, most=1000),
    num_heads=config.integer("num_attention_heads", least=1),
    mlp_ratio=mlp_ratio(hidden, width),
    norm_eps=config.number("layer_norm_eps", least=0, most=1),
  )


def size_fields(encoder: dict[str, Any], hidden: float) -> dict[str, Any]:
  """The same for config.json, and what is the same in all of ours."""
  return dict(
    hidden_size=encoder["width"],
    num_hidden_layers=encoder["depth"],
    num_attention_heads=encoder["num_heads"],
    intermediate_size=int(hidden),
    hidden_act="gelu",
    initializer_range=0.02,
    layer_norm_eps=encoder["norm_eps"],
  )


def classifier(config: Options) -> tuple[str, int]:
  """config.objective.name of a classifier, and its outputs."""
  one, several = PROBLEMS["classification"], PROBLEMS["multi_label"]
  config.require("problem_type", None, *PROBLEMS.values())
  outputs = num_labels(config)
  if config["problem_type"] == several:
    return "multi_label", outputs
  if outputs == 1:
    return "regression", 1
  config.require("problem_type", None, one)
  return "classification", outputs


def class_fields(config: Options) -> dict[str, Any]:
  """config.data of a classifier: what its outputs stand for."""
  fields = _class_names(config)
  if config["problem_type"] == PROBLEMS["multi_label"]:
    count = num_labels(config)
    fields["labels"] = {"name": "class_sets", "num_classes": count}
  return fields


def _class_names(config: Options) -> dict[str, Any]:
  names = config["id2label"]
  if names is None:
    return {}
  count = num_labels(config)
  ordered = [names.get(str(i), names.get(i)) for i in range(count)]
  if not all(isinstance(name, str) for name in ordered):
    what = f"it must be names for each of the numbers 0 to {count - 1}"
    raise config.error("id2label", what)
  if len(set(ordered)) < count:
    raise config.error("id2label", "two outputs have one name")
  if ordered == _numbered(count):  # nobody gave them names
    return {}
  return {"classes": tuple(ordered)}


def label_fields(
  classes: Sequence[str] | None, count: int
) -> dict[str, dict[str, Any]]:
  """The same for config.json.

  Args:
    classes: names in order; None where they have none.
    count: of outputs.

  Raises:
    InterchangeError: there are more or fewer names than outputs.
  """
  names = _numbered(count) if classes is None else list(classes)
  if len(names) != count:
    raise refuse("data.classes", tuple(names), f"the head has {count} outputs")
  return {
    "id2label": {str(i): name for i, name in enumerate(names)},
    "label2id": {name: i for i, name in enumerate(names)},
  }


def _numbered(count: int) -> list[str]:
  return [f"LABEL_{i}" for i in range(count)]


def num_labels(config: Options) -> int:
  """Outputs of a classifier."""
  names = config["id2label"]
  if names is None:
    return config.integer("num_labels", 2, least=1)
  if not isinstance(names, dict) or not names:
    raise config.error("id2label", "it must be an object number -> name")
  return len(names)


def require_settings(
  where: str, values: Mapping[str, Any], why: str, **only: Any
) -> None:
  """Raises unless settings of ours have the only value that theirs can have.

  Args:
    where: their section, such as 'encoder'.
    values: its settings.
    why: what is there.
    **only: setting -> the value that it must have.
  """
  for name, value in only.items():
    if values[name] != value:
      reason = f"{why}; it would have to be {value!r}"
      raise refuse(f"{where}.{name}", values[name], reason)


def refuse(field: str, value: Any, why: str) -> InterchangeError:
  """The error for a setting of ours that the format cannot hold."""
  return InterchangeError(
    f"config.{field}={value!r} cannot be written as a Hugging Face folder: "
    f"{why}. Use --format=safetensors, which holds everything."
  )


def prefixed(arrays: Arrays, prefix: str) -> Arrays:
  """Names of a model with a head: the encoder's begin with its prefix."""
  heads = ("classifier.", "lm_head.", "projector.")
  return {
    k if k.startswith(heads) else f"{prefix}.{k}": v for k, v in arrays.items()
  }


def unprefixed(arrays: Arrays, prefix: str) -> Arrays:
  """Names without the encoder's prefix.

  Raises:
    InterchangeError: two names become one.
  """
  start = f"{prefix}."
  plain = {k.removeprefix(start): v for k, v in arrays.items()}
  if len(plain) < len(arrays):
    twice = sorted(
      k for k in arrays if k.startswith(start) and k[len(start) :] in arrays
    )
    raise InterchangeError(
      f"weights are there with and without {start}, such as {twice[0]}."
    )
  return plain
