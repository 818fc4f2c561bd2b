"""Names and layouts of PyTorch weights <-> our parameter trees."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Tree = dict[str, Any]
# Layer or None -> part or None -> array.
Pieces = dict[int | None, dict[int | None, np.ndarray]]

# As many names as a message has room for.
_SHOWN = 12


class InterchangeError(ValueError):
  """A foreign file or folder cannot be taken as it is."""


@dataclasses.dataclass(frozen=True)
class Rule:
  """A PyTorch name, our path and the change of layout between them.

  `{layer}` in the name is the index in our stack of layers [L, ...]; any other
  `{i}` is an index that the path has, too.

  Attributes:
    name: e.g. 'encoder.layer.{layer}.attention.output.dense.weight'.
    path: e.g. 'blocks/attention/out/kernel'.
    layout: 'same'; 'linear' [out, in] <-> [in, out]; 'conv' [out, in, k, ...]
      <-> [k, ..., in, out]; 'patch' [D, C, P, P] <-> [P * P * C, D]; 'scalars'
      [1, 1, D], with ones wherever, <-> [D]; 'qkv' [3 D] -> three of [D], of
      which `{x}` in the path is the letter.
    part: of ours, which has three side by side along its last axis (queries,
      keys and values), the parameter is this one; None: it is all of ours.
    patch_size: P of layout 'patch'.
  """

  name: str
  path: str
  layout: str = "same"
  part: int | None = None
  patch_size: int = 16


def linear(name: str, path: str, layout: str = "linear") -> tuple[Rule, Rule]:
  """Rules of the weight, in this layout, and the bias of a linear map."""
  return (
    Rule(f"{name}.weight", f"{path}/kernel", layout),
    Rule(f"{name}.bias", f"{path}/bias"),
  )


def norm(name: str, path: str) -> tuple[Rule, Rule]:
  """Rules of a norm's weight and bias."""
  return (
    Rule(f"{name}.weight", f"{path}/scale"),
    Rule(f"{name}.bias", f"{path}/bias"),
  )


def qkv(*names: str, blocks: str = "blocks") -> tuple[Rule, ...]:
  """Rules of the blocks' maps to queries, keys and values, by their names."""
  attention = f"{blocks}/attention"
  return tuple(
    rule
    for part, (x, name) in enumerate(zip("qkv", names, strict=True))
    for rule in (
      Rule(f"{name}.weight", f"{attention}/qkv/kernel", "linear", part),
      Rule(f"{name}.bias", f"{attention}/{x}_bias"),
    )
  )


def to_tree(
  arrays: Mapping[str, np.ndarray],
  rules: Iterable[Rule],
  expected: Tree,
  *,
  unused: Iterable[str] = (),
  source: str = "the file",
) -> Tree:
  """Our tree of PyTorch's arrays: all of it, or an error that says what lacks.

  Args:
    arrays: by PyTorch's names.
    rules: of the model; those for parameters that it lacks are passed over.
    expected: tree of what has `shape` and `dtype`, such as `jax.eval_shape` of
      `Encoder.init` gives.
    unused: regular expressions of whole names that are left out on purpose.
    source: what the arrays came from, for errors.

  Returns:
    Tree like `expected`, of float32 arrays.

  Raises:
    InterchangeError: lists arrays that are not finite in float32, or else those
      that no rule knows, parameters that no array gave, and shapes that differ,
      by name.
  """
  patterns = [(_pattern(rule.name), rule) for rule in rules]
  left_out = [re.compile(pattern) for pattern in unused]
  given: dict[str, Pieces] = {}
  unknown = []
  for name, array in arrays.items():
    if any(p.fullmatch(name) for p in left_out):
      continue
    matches = ((rule, p.fullmatch(name)) for p, rule in patterns)
    rule, match = next((x for x in matches if x[1]), (None, None))
    if rule is None or match is None:
      unknown.append(f"{name} {list(array.shape)}")
      continue
    groups = match.groupdict()
    layer = int(groups["layer"]) if "layer" in groups else None
    values = {"": _to_ours(np.asarray(array), rule.layout)}
    if rule.layout == "qkv":
      values = dict(
        zip("qkv", np.array_split(np.atleast_1d(array), 3), strict=True)
      )
    for x, value in values.items():
      pieces = given.setdefault(rule.path.format(x=x, **groups), {})
      pieces.setdefault(layer, {})[rule.part] = value
  not_finite = sorted(
    f"{name}: {problem}"
    for name, array in arrays.items()
    if not any(p.fullmatch(name) for p in left_out)
    and (problem := _not_finite(np.asarray(array)))
  )
  if not_finite:
    raise InterchangeError(
      f"{source} has weights that are not finite numbers of 32 bits; nothing "
      f"was loaded. Get the model anew.{_listed('not finite', not_finite)}"
    )
  shapes = {path: tuple(x.shape) for path, x in flatten(expected).items()}
  leaves, problems = {}, {}
  unknown += [f"{path} (ours)" for path in given.keys() - shapes.keys()]
  missing = sorted(shapes.keys() - given.keys())
  for path in sorted(shapes.keys() & given.keys()):
    try:
      value = _join(given[path])
    except ValueError as e:
      problems[path] = str(e)
      continue
    if value.shape == shapes[path]:
      leaves[path] = np.ascontiguousarray(value, np.float32)
    else:
      problems[path] = f"{list(value.shape)}, expected {list(shapes[path])}"
  if unknown or missing or problems:
    raise InterchangeError(
      f"{source} does not fit the model that its configuration describes; "
      "nothing was loaded."
      + _listed("unexpected", sorted(unknown))
      + _listed("missing", missing)
      + _listed("misshapen", [f"{k}: {v}" for k, v in problems.items()])
    )
  return unflatten(leaves)


def to_torch(tree: Tree, rules: Iterable[Rule]) -> Arrays:
  """PyTorch's names and layouts of all our parameters.

  Raises:
    InterchangeError: lists parameters that no rule knows.
  """
  leaves = flatten(tree)
  arrays, known = {}, set()
  for rule in rules:
    pattern = _pattern(rule.path)
    for path, leaf in leaves.items():
      match = pattern.fullmatch(path)
      if not match:
        continue
      known.add(path)
      leaf = np.asarray(leaf)
      stacked = "{layer}" in rule.name
      for i, value in enumerate(leaf) if stacked else ((None, leaf),):
        if rule.part is not None:
          value = np.split(value, 3, axis=-1)[rule.part]
        name = rule.name.format(**{**match.groupdict(), "layer": i})
        arrays[name] = _to_torch(value, rule)
  unknown = sorted(leaves.keys() - known)
  if unknown:
    raise InterchangeError(
      "these parameters have no place in the format that was asked for:"
      + _listed("unknown", unknown)
    )
  return arrays


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """'blocks/norm1/scale' -> leaf, for nested dicts."""
  leaves: dict[str, Any] = {}
  for key, value in tree.items():
    if isinstance(value, Mapping):
      leaves |= flatten(value, f"{prefix}{key}/")
    else:
      leaves[prefix + key] = value
  return leaves


def unflatten(leaves: Mapping[str, Any]) -> Tree:
  """The inverse of `flatten`, without empty dicts."""
  tree: Tree = {}
  for path, leaf in leaves.items():
    *parents, name = path.split("/")
    branch = tree
    for parent in parents:
      branch = branch.setdefault(parent, {})
    branch[name] = leaf
  return tree


def _pattern(template: str) -> re.Pattern:
  pieces = re.split(r"\{(\w+)\}", template)
  return re.compile(
    "".join(
      rf"(?P<{x}>\d+)" if i % 2 else re.escape(x) for i, x in enumerate(pieces)
    )
  )


def _join(pieces: Pieces) -> np.ndarray:
  """Parts side by side, then layers on top of each other."""
  values = {}
  for layer, parts in pieces.items():
    if None in parts:
      values[layer] = parts[None]
    else:
      values[layer] = np.concatenate(_in_order(parts, "parts"), -1)
  if None in values:
    return values[None]
  layers = _in_order(values, "layers")
  if len({v.shape for v in layers}) > 1:
    raise ValueError("its layers differ in shape")
  return np.stack(layers)


def _in_order(
  numbered: dict[int | None, np.ndarray], what: str
) -> list[np.ndarray]:
  there = sorted(n for n in numbered if n is not None)
  if there != list(range(len(there))):
    raise ValueError(f"only {what} {there} are there")
  return [numbered[n] for n in there]


def _to_ours(x: np.ndarray, layout: str) -> np.ndarray:
  dimensions = {"linear": (2,), "conv": (3, 4), "patch": (4,)}.get(layout)
  if dimensions is not None and x.ndim not in dimensions:
    return x  # its shape will be named as wrong
  if layout == "linear":
    return x.T
  if layout == "conv":
    return np.moveaxis(x, (0, 1), (-1, -2))
  if layout == "patch":
    return x.transpose(2, 3, 1, 0).reshape(-1, x.shape[0])
  return x.reshape(-1) if layout == "scalars" else x


def _to_torch(x, rule):
  if rule.layout == "linear":
    x = x.T
  elif rule.layout == "conv":
    x = np.moveaxis(x, (-1, -2), (0, 1))
  elif rule.layout == "patch":
    p = rule.patch_size
    x = x.reshape(p, p, -1, x.shape[-1]).transpose(3, 2, 0, 1)
  elif rule.layout == "scalars":
    x = x.reshape(1, 1, -1)
  return np.ascontiguousarray(x)


def _not_finite(array: np.ndarray) -> str:
  """What of an array is no number of 32 bits; '' if all is."""
  with np.errstate(over="ignore"):
    array = array.astype(np.float32)
  if np.isfinite(array).all():
    return ""
  nan, infinite = int(np.isnan(array).sum()), int(np.isinf(array).sum())
  return f"{nan} NaN and {infinite} infinite or too large, of {array.size}"


def _listed(what, names):
  if not names:
    return ""
  shown = "".join(f"\n  {name}" for name in names[:_SHOWN])
  more = f"\n  and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
  return f"\n{what} ({len(names)}):{shown}{more}"
