"""What a modality's writer makes, and what all of them need."""

import dataclasses
from typing import Any

from d2v_jax.interchange.weights import Arrays, InterchangeError


@dataclasses.dataclass(frozen=True)
class Outgoing:
  """A model of ours, its parts named in Hugging Face's terms.

  Attributes:
    config: config.json.
    arrays: by PyTorch's names, with the model's prefix.
    files: name -> bytes of the others, such as preprocessor_config.json.
    notes: what a user of the folder must know.
  """

  config: dict[str, Any]
  arrays: Arrays
  files: dict[str, bytes]
  notes: tuple[str, ...] = ()


def refuse(field: str, value: Any, why: str) -> InterchangeError:
  """The error for a setting of ours that the format cannot hold."""
  return InterchangeError(
    f"config.{field}={value!r} cannot be written as a Hugging Face folder: "
    f"{why}. Use --format=safetensors, which holds everything."
  )


# Buffers that files of older versions hold beside the parameters.
BUFFERS = (
  r"(.*\.)?position_ids",
  r"(.*\.)?token_type_ids",
  r"(.*\.)?relative_position_index",
  r"(.*\.)?num_batches_tracked",
)


def prefixed(arrays: Arrays, prefix: str, heads: tuple[str, ...]) -> Arrays:
  """Names of a model with a head: the encoder's begin with its prefix."""
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
