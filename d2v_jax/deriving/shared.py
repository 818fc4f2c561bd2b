"""Rules that images, recordings and text have in common."""

from d2v_jax.config import ConfigError
from d2v_jax.deriving.marks import Chosen

_BATCHES = 8  # that an epoch has at least
_SMALLEST = 4  # examples of a batch
_HEADS = (6, 4, 3, 2, 1)
_HEAD_WIDTH = 24


def network(chosen: Chosen, width: int, depth: int, why: str) -> None:
  """Chooses width, depth and what goes with them.

  Args:
    chosen: receives the values.
    width: of the network, unless the config has one.
    depth: layers, likewise.
    why: in words.
  """
  width = chosen.take("encoder.width", width, why)
  depth = chosen.take("encoder.depth", depth, why)
  heads = next(
    (h for h in _HEADS if width % h == 0 and width // h >= _HEAD_WIDTH), 1
  )
  chosen.take("encoder.num_heads", heads, f"for a width of {width}")
  chosen.take("objective.targets.top_k", min(3, depth), f"of {depth} layers")


def batch_size(chosen: Chosen, count: int, most: int, devices: int) -> int:
  """Chooses the examples of a batch.

  Args:
    chosen: receives the value.
    count: examples to train on.
    most: of the shipped config.
    devices: that share a batch.

  Raises:
    ConfigError: there are too few examples.
  """
  if not chosen.is_open("batch_size"):
    return int(chosen.take("batch_size", most, ""))
  value = most
  while value * _BATCHES > count:
    value //= 2
  if value < _SMALLEST:
    raise ConfigError(
      f"config.data.source: got {count} examples that can be used, too few to "
      f"learn from; {_SMALLEST * _BATCHES} are the least that sizes are "
      "derived for, and features worth having need thousands. Give more data, "
      "or use a network that is trained already (docs/convert.md)."
    )
  value = -(-value // devices) * devices
  return int(
    chosen.take("batch_size", value, f"{count} examples, {devices} devices")
  )
