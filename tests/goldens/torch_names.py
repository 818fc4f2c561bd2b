"""Parameters of the reference under their PyTorch names <-> our trees."""

import dataclasses
import re
from collections.abc import Iterable

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Rule:
  """A PyTorch name, our path and the layout change.

  The pattern's group `layer` is the index in our stack of layers; others fill
  braces in the path. With `part`, the parameter is that third of ours, which
  has three side by side along its last axis. With `pieces` it is the other way
  round: theirs has so many of ours side by side along its first axis, and each
  fills the path's brace `piece`.

  Layouts: 'same'; 'flat' (one axis); 'linear' [out, in] <-> [in, out]; 'conv'
  [out, in, k, ...] <-> [k, ..., in, out]; 'patch' [D, C, P, P] <->
  [P * P * C, D].
  """

  pattern: str
  path: str
  layout: str = "same"
  part: int | None = None
  pieces: tuple[str, ...] = ("",)


@dataclasses.dataclass(frozen=True)
class Entry:
  name: str
  path: str
  layer: int | None
  layout: str
  part: int | None
  shape: tuple[int, ...]
  piece: int
  num_pieces: int


class Names:
  """The correspondence for one model, from the names and shapes it has."""

  def __init__(
    self,
    shapes: dict[str, tuple[int, ...]],
    rules: Iterable[Rule],
    unused: Iterable[str] = (),
  ):
    self.entries = []
    for name, shape in shapes.items():
      if name in unused:
        continue
      found = [(r, re.fullmatch(r.pattern, name)) for r in rules]
      found = [(r, m) for r, m in found if m]
      if len(found) != 1:
        raise KeyError(f"{len(found)} rules for parameter {name}")
      rule, match = found[0]
      groups = match.groupdict()
      layer = groups.get("layer")
      layer = None if layer is None else int(layer)
      for i, piece in enumerate(rule.pieces):
        path = rule.path.format(**groups, piece=piece)
        number = len(rule.pieces)
        own = (shape[0] // number, *shape[1:])
        self.entries.append(
          Entry(name, path, layer, rule.layout, rule.part, own, i, number)
        )

  def to_tree(self, arrays: Arrays) -> dict:
    """Our tree of the arrays that are there; layers stacked in order."""
    flat = {}
    for e in self.entries:
      if e.name not in arrays:
        continue
      value = np.split(np.asarray(arrays[e.name]), e.num_pieces)[e.piece]
      value = _to_ours(value, e.layout)
      layers = flat.setdefault(e.path, {})
      layers.setdefault(e.layer, {})[e.part] = value
    tree = {}
    for path, layers in flat.items():
      values = {
        layer: np.concatenate([parts[k] for k in sorted(parts)], axis=-1)
        if len(parts) > 1
        else parts[None]
        for layer, parts in layers.items()
      }
      if None in values:
        value = values[None]
      else:
        value = np.stack([values[i] for i in sorted(values)])
      *parents, leaf = path.split("/")
      node = tree
      for parent in parents:
        node = node.setdefault(parent, {})
      node[leaf] = value
    return tree

  def to_torch(self, tree: dict) -> Arrays:
    """PyTorch-named arrays in PyTorch's layout."""
    pieces = {}
    for e in self.entries:
      node = tree
      for key in e.path.split("/"):
        node = node.get(key) if node is not None else None
      if node is None:
        continue
      value = np.asarray(node)
      value = value if e.layer is None else value[e.layer]
      if e.part is not None:
        value = np.split(value, 3, axis=-1)[e.part]
      value = _to_torch(value, e.layout, e.shape)
      pieces.setdefault(e.name, []).append(value)
    return {name: np.concatenate(values) for name, values in pieces.items()}


def _to_ours(x, layout):
  if layout == "linear":
    return x.T
  if layout == "conv":
    return np.moveaxis(x, (0, 1), (-1, -2))
  if layout == "patch":
    return x.transpose(2, 3, 1, 0).reshape(-1, x.shape[0])
  return x.reshape(-1) if layout == "flat" else x


def _to_torch(x, layout, shape):
  if layout == "linear":
    return x.T
  if layout == "conv":
    return np.moveaxis(x, (-1, -2), (0, 1))
  if layout == "patch":
    width, channels, height, length = shape
    return x.reshape(height, length, channels, width).transpose(3, 2, 0, 1)
  return x.reshape(shape)
