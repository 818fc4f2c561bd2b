"""The optimizer, as one optax chain."""

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from d2v_jax.models.encoder import SubTrees
from d2v_jax.training.schedules import Schedule

Params = dict[str, Any]

# BEiT's groups, by name and not by rank: scanned layers stack biases to 2-D.
NO_DECAY = (
  r"bias$",
  r"scale$",
  r"gamma_\w+$",
  r"^cls_token$",
  r"^position_embedding$",
)


def adamw(
  schedule: Schedule,
  *,
  weight_decay: float = 0.05,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  uncorrected_eps: bool = False,
  muon: float | None = None,
  clip_norm: float | None = None,
  layer_decay: float | None = None,
  no_decay: tuple[str, ...] = NO_DECAY,
  frozen: tuple[str, ...] = (),
  freeze_steps: int = 0,
  sub_trees: SubTrees | None = None,
) -> optax.GradientTransformation:
  """AdamW with decay by name, global-norm clipping and layer-wise rates.

  Args:
    schedule: update number -> learning rate.
    weight_decay: decoupled, multiplied by the rate.
    b1: decay of the first moment.
    b2: decay of the second moment.
    eps: added after bias correction, as in torch.optim.AdamW.
    uncorrected_eps: add it before, as in fairseq, which trained the released
      speech and text models: larger in effect in the first hundreds of updates.
    muon: Muon for the matrices of the layers (Liu et al. 2025, arXiv
      2502.16982: Nesterov momentum of 0.95, made orthogonal by five
      Newton-Schulz steps, times 0.2 sqrt(the longer side)), at so many times
      the schedule's rate, and the above for all else; None: for nothing. With
      1 their changes are as large as AdamW's. experiments/small_data has what
      helped.
    clip_norm: largest global L2 norm of the gradient; None does not clip.
    layer_decay: r, rate of layer i = r**(L + 1 - i) for fine-tuning; None or 1
      gives all the same rate. See `layer_scales`.
    no_decay: regular expressions of parameter paths ('blocks/norm1/scale')
      without weight decay; () decays everything, as speech and text do.
    frozen: top-level sub-trees that never change, e.g. ('feature_encoder',).
    freeze_steps: for so many first updates only `head` changes.
    sub_trees: those of the network; layer_decay and muon need to know them.

  Returns:
    The optax chain. Its `init` raises ValueError if a sub-tree that `frozen` or
    `freeze_steps` needs is not there.

  Raises:
    ValueError: for values outside their range.
  """
  if weight_decay < 0:
    raise ValueError(f"adamw: weight_decay must be >= 0, got {weight_decay}.")
  for name, value in (("b1", b1), ("b2", b2)):
    if not 0 <= value < 1:
      raise ValueError(f"adamw: {name} must be in [0, 1), got {value}.")
  if not eps >= 0:
    raise ValueError(f"adamw: eps must be >= 0, got {eps}.")
  if clip_norm is not None and clip_norm <= 0:
    raise ValueError(
      f"adamw: clip_norm must be positive, got {clip_norm}; use None for no "
      "clipping."
    )
  if layer_decay is not None and not 0 < layer_decay <= 1:
    raise ValueError(
      f"adamw: layer_decay must be in (0, 1], got {layer_decay}."
    )
  if freeze_steps < 0:
    raise ValueError(f"adamw: freeze_steps must be >= 0, got {freeze_steps}.")
  adam = _scale_by_fairseq_adam if uncorrected_eps else optax.scale_by_adam
  scaled = adam(b1, b2, eps)
  rates = []
  if muon is not None:
    if isinstance(muon, bool) or not muon > 0:
      raise ValueError(
        "adamw: muon must be a positive factor of the rate, e.g. 1.0, got "
        f"{muon}; use None for AdamW alone."
      )
    if sub_trees is None:
      raise ValueError("adamw: muon needs the network's sub_trees.")
    scaled = _with_muon(scaled, sub_trees)
    rates.append(_scale_by_muon(muon, sub_trees))
  if layer_decay is not None and layer_decay < 1:
    if sub_trees is None:
      raise ValueError("adamw: layer_decay needs the network's sub_trees.")
    rates.append(_scale_by_layer(layer_decay, sub_trees))
  decay = optax.add_decayed_weights(
    weight_decay, mask=lambda params: decay_mask(params, no_decay)
  )
  parts = [scaled, decay, *rates, optax.scale_by_learning_rate(schedule)]
  if clip_norm is not None:
    parts.insert(0, optax.clip_by_global_norm(clip_norm))
  tx = optax.chain(*parts)
  if frozen or freeze_steps:
    return _freezing(tx, frozen, freeze_steps)
  return tx


def _scale_by_fairseq_adam(b1, b2, eps):
  adam = optax.scale_by_adam(b1, b2, eps)

  def update(grads, state, params=None):
    _, state = adam.update(grads, state, params)
    correction = jnp.sqrt(1 - b2**state.count) / (1 - b1**state.count)
    updates = jax.tree.map(
      lambda m, v: correction * m / (jnp.sqrt(v) + eps), state.mu, state.nu
    )
    return updates, state

  return optax.GradientTransformation(adam.init, update)


def _with_muon(
  adam: optax.GradientTransformation, sub_trees: SubTrees
) -> optax.GradientTransformation:
  """Muon for the layers' kernels [L, in, out], each matrix by itself."""

  def axes(params):
    each = optax.contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=2)
    return jax.tree.map(lambda _: each, params)

  def as_large_as_adam(updates, params):
    del params
    return jax.tree.map(lambda u: u * (0.2 * max(u.shape[1:]) ** 0.5), updates)

  orthogonal = optax.chain(
    optax.contrib.scale_by_muon(weight_dimension_numbers=axes),
    optax.stateless(as_large_as_adam),
  )

  def labels(params):
    matrices = _matrices(params, sub_trees)
    return jax.tree.map(lambda is_one: "muon" if is_one else "adam", matrices)

  return optax.partition({"muon": orthogonal, "adam": adam}, labels)


def _scale_by_muon(
  factor: float, sub_trees: SubTrees
) -> optax.GradientTransformation:
  def scale(updates, params):
    del params
    return jax.tree.map(
      lambda u, is_matrix: u * factor if is_matrix else u,
      updates,
      _matrices(updates, sub_trees),
    )

  return optax.stateless(scale)


def _matrices(params: Params, sub_trees: SubTrees) -> Params:
  """Tree of bools: True for what Muon changes, stacked layers' kernels."""

  def is_matrix(path, leaf):
    name = path_name(path)
    stacked = name.split("/")[0] in sub_trees.stacked
    return stacked and name.endswith("kernel") and leaf.ndim == 3

  return jax.tree_util.tree_map_with_path(is_matrix, params)


def decay_mask(params: Params, no_decay: tuple[str, ...] = NO_DECAY) -> Params:
  """Tree of bools: True where the weight decays.

  Source: released vision code: no decay of biases, norms, layer scale, CLS
  token and absolute positions; mask token and relative positions do decay.
  """
  patterns = [re.compile(p) for p in no_decay]
  return jax.tree_util.tree_map_with_path(
    lambda path, _: not any(p.search(path_name(path)) for p in patterns), params
  )


def layer_scales(
  params: Params, layer_decay: float, sub_trees: SubTrees
) -> Params:
  """Factor of each parameter's rate: r**(L + 1 - id), BEiT's numbering.

  Everything below the layers (patches, convolutions or embeddings, CLS and mask
  token, absolute positions) has id 0, layer l = 1..L has id l, everything else
  (norm, head, relative positions) L + 1. Layers of several sub-trees are
  counted through. (data2vec 2.0's code leaves rate 1 to all that is not in a
  layer; BEiT's rule serves both here.)

  Args:
    params: top-level sub-trees.
    layer_decay: r.
    sub_trees: which of them are below the layers, and which are the layers.

  Returns:
    Tree of arrays that broadcast against params.
  """
  counts = [
    jax.tree.leaves(params[name])[0].shape[0] for name in sub_trees.stacked
  ]
  depth = sum(counts)
  scales = layer_decay ** np.arange(depth, 0, -1, dtype=np.float32)  # [L]
  pieces = np.split(scales, np.cumsum(counts)[:-1])
  stacked = dict(zip(sub_trees.stacked, pieces, strict=True))
  bottom = sub_trees.bottom

  def scale(path, leaf):
    top = path_name(path).split("/")[0]
    if top in stacked:
      return stacked[top].reshape(-1, *(1,) * (leaf.ndim - 1))
    return np.float32(layer_decay ** (depth + 1) if top in bottom else 1.0)

  return jax.tree_util.tree_map_with_path(scale, params)


def _scale_by_layer(
  layer_decay: float, sub_trees: SubTrees
) -> optax.GradientTransformation:
  def update(updates, params):
    scales = layer_scales(params, layer_decay, sub_trees)
    return jax.tree.map(lambda u, s: u * s, updates, scales)

  return optax.stateless(update)


class _Freezing(NamedTuple):
  # int32, completed updates. The name hides a method of tuples.
  count: jax.Array  # type: ignore[assignment]
  inner: Any


def _freezing(tx, frozen, freeze_steps):
  """Hides gradients of what must not change from tx, and drops its updates.

  The gradients count as zero in the clipped norm and in Adam's moments, as in
  the released speech code; dropping the updates leaves weight decay out, too.
  """

  def init(params):
    needed = (*frozen, *("head",) * (freeze_steps > 0))
    missing = sorted(set(needed) - set(params))
    if missing:
      raise ValueError(
        f"adamw: frozen={frozen!r}, freeze_steps={freeze_steps}: there is no "
        f"sub-tree {', '.join(missing)} in the parameters; they have: "
        f"{', '.join(sorted(params))}."
      )
    return _Freezing(jnp.zeros((), jnp.int32), tx.init(params))

  def select(tree, count):
    def kept(name, part):
      if name in frozen:
        return jax.tree.map(jnp.zeros_like, part)
      if name == "head" or not freeze_steps:
        return part
      learns = count >= freeze_steps
      return jax.tree.map(lambda x: jnp.where(learns, x, 0), part)

    return {name: kept(name, part) for name, part in tree.items()}

  def update(grads, state, params):
    grads = select(grads, state.count)
    updates, inner = tx.update(grads, state.inner, params)
    count = optax.safe_increment(state.count)
    return select(updates, state.count), _Freezing(count, inner)

  return optax.GradientTransformation(init, update)


def path_name(path: tuple[Any, ...]) -> str:
  """'blocks/norm1/scale' for a JAX key path."""
  return jax.tree_util.keystr(path, simple=True, separator="/")
