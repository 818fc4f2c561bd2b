"""The leaves of a checkpoint: names, shapes, dtypes and fingerprints.

A checkpoint says of each leaf what it is, in a line of text: its kind,
`float32[3,4]`, then the fingerprint of its values, `0123456789abcdef`. An empty
container has the kind `empty` and no fingerprint: Orbax tells it from none.
"""

from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from d2v_jax.training.checkpoints import fingerprint

PyTree = Any

EMPTY = "empty"


class CheckpointMismatch(ValueError):
  """The checkpoint is sound, but of another run: no older one is tried."""


def descriptions(items: dict[str, PyTree]) -> dict[str, str]:
  """Path of each leaf -> its kind and fingerprint."""
  leaves = _by_path(items)
  lines = {name: _kind(leaf) for name, leaf in leaves.items()}
  arrays = [name for name in lines if lines[name] != EMPTY]
  table = fingerprint.of([leaves[name] for name in arrays])
  for name, (total, weighted) in zip(arrays, table, strict=True):
    lines[name] += f" {total:08x}{weighted:08x}"
  return lines


def shapes(lines: dict[str, str]) -> dict[str, PyTree]:
  """The trees that `descriptions` are of: item -> `jax.ShapeDtypeStruct`s."""
  items: dict[str, PyTree] = {}
  for name, line in lines.items():
    kind = line.split(" ")[0]
    *parents, leaf = name.split("/")
    if kind == EMPTY:
      parents.append(leaf)
    node = items
    for parent in parents:
      node = node.setdefault(parent, {})
    if kind != EMPTY:
      dtype, _, lengths = kind.rstrip("]").partition("[")
      shape = tuple(map(int, filter(None, lengths.split(","))))
      node[leaf] = jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))
  return items


def require_match(
  path: epath.PathLike,
  stored: dict[str, PyTree],
  expected: dict[str, PyTree],
) -> None:
  """Compares names, shapes and dtypes of items with those that are expected.

  Args:
    path: of the checkpoint, for the error.
    stored: item -> tree of arrays or `jax.ShapeDtypeStruct`.
    expected: likewise.

  Raises:
    CheckpointMismatch: names what differs.
  """
  lines = {name: _kind(leaf) for name, leaf in _by_path(stored).items()}
  require_lines_match(path, lines, expected)


def require_lines_match(
  path: epath.PathLike, lines: dict[str, str], expected: dict[str, PyTree]
) -> None:
  """As `require_match`, of what `descriptions` gave of the stored items."""
  stored = {name: line.split(" ")[0] for name, line in lines.items()}
  kinds = {name: _kind(leaf) for name, leaf in _by_path(expected).items()}
  differ = [
    f"  {name}: {stored.get(name, 'absent')} in the checkpoint, "
    f"{kinds.get(name, 'absent')} expected\n"
    for name in sorted(stored.keys() | kinds.keys())
    if stored.get(name) != kinds.get(name)
  ]
  if differ:
    raise CheckpointMismatch(
      f"checkpoint {path} does not fit; leaves that differ: {len(differ)}\n"
      f"{''.join(differ[:8])}"
      "Use the config it was saved with, or another workdir."
    )


def require_saveable(items: dict[str, PyTree]) -> None:
  """Raises ValueError for a leaf that is no device array of plain numbers."""
  for name, leaf in _by_path(items).items():
    if _is_empty(leaf):
      continue
    if not isinstance(leaf, jax.Array) or jnp.issubdtype(
      leaf.dtype, jax.dtypes.extended
    ):
      raise ValueError(
        f"Checkpoints.save: {name} is a {type(leaf).__name__}; save "
        "jax.Array of plain numbers (jnp.asarray, jax.random.key_data)."
      )


def require_shardings(items: dict[str, PyTree]) -> None:
  """Raises ValueError for a target without a sharding that divides it."""
  for name, leaf in _by_path(items).items():
    if _is_empty(leaf):
      continue
    if getattr(leaf, "sharding", None) is None:
      raise ValueError(
        f"{name}: the target to restore into has no sharding; give "
        "jax.ShapeDtypeStruct(shape, dtype, sharding=...)."
      )
    leaf.sharding.shard_shape(leaf.shape)  # raises if it does not divide


def _by_path(items: dict[str, PyTree]) -> dict[str, Any]:
  """Leaves by path, empty containers among them."""
  flat, _ = jax.tree_util.tree_flatten_with_path(items, is_leaf=_is_empty)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in flat
  }


def _is_empty(node: Any) -> bool:
  tree: Any = jax.tree.structure(node)  # its stub has no attributes
  return tree.num_nodes == 1 and tree.num_leaves == 0


def _kind(leaf: Any) -> str:
  if _is_empty(leaf):
    return EMPTY
  return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
