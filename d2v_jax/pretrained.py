"""Pretrained weights, from the workdir of a run or of an import.

from d2v_jax import pretrained
model = pretrained.load("runs/mine", "teacher")
features = model.features(images)  # uint8 [n, H, W, C] -> float32 [n, D]
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError, Spec
from d2v_jax.evaluators.features import MODELS, Features, pool_features
from d2v_jax.modalities import MODALITIES, Modality
from d2v_jax.models.encoder import Batch, Encoder, Params
from d2v_jax.objectives import SUB_TREES
from d2v_jax.training import checkpoint, provenance, sharding

INPUTS_MADE_WITH = ("channels", "tokenizer")


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """One of a run's networks, ready to be used.

  Attributes:
    run: workdir of the run.
    step: of the checkpoint.
    config: the run's config.
    modality: a key of MODALITIES.
    encoder: the network as pure functions.
    model: 'teacher' or 'student'.
    params: its parameters, on devices.
    mesh: of those devices.
  """

  run: epath.Path
  step: int
  config: dict[str, Any]
  modality: str
  encoder: Encoder
  model: str
  params: Params
  mesh: jax.sharding.Mesh

  @property
  def row(self) -> Modality:
    """The modality's row of the table."""
    return MODALITIES[self.modality]

  @functools.cached_property
  def _extract(self):
    def extract(params, batch, features):
      return pool_features(self.encoder(params, batch), features)

    return jax.jit(extract, static_argnames="features")

  def extract(self, batch: Batch, features: Features) -> jax.Array:
    """Features [B, D] of a batch, compiled once for each shape."""
    return self._extract(self.params, batch, features)

  def features(
    self,
    inputs: np.ndarray | Mapping[str, np.ndarray],
    *,
    layers: tuple[int, ...] | str | None = None,
    pool: str = "mean",
    batch_size: int = 64,
  ) -> np.ndarray:
    """Features of examples that are in memory and ready for the network.

    `d2v features` reads files, and makes them ready.

    Args:
      inputs: images uint8 [n, H, W, C], utterances float32 [n, T] of zero mean
        and unit variance at 16 kHz, or tokens int32 [n, N]; or a dict of
        `inputs` and what else the modality has, such as `padding` [n, N].
      layers: as for `Features`.
      pool: as for `Features`.
      batch_size: rows at a time; on several devices rounded up to a multiple.

    Returns:
      float32 [n, D]; [n, L + 1, D] for layers='all'.

    Raises:
      ValueError: inputs do not fit the network.
    """
    batch = inputs if isinstance(inputs, Mapping) else {"inputs": inputs}
    batch = {k: np.asarray(v) for k, v in batch.items()}
    choice = Features(self.model, layers, pool)
    size = -(-batch_size // self.mesh.size) * self.mesh.size
    where = sharding.batch_sharding(self.mesh)
    found = []
    for start in range(0, len(batch["inputs"]), size):
      rows = {k: v[start : start + size] for k, v in batch.items()}
      count = len(rows["inputs"])
      # A last, shorter batch is filled with its own rows: one compilation.
      whole = {k: np.resize(v, (size, *v.shape[1:])) for k, v in rows.items()}
      device_batch = sharding.to_devices(whole, where)
      found.append(np.asarray(self.extract(device_batch, choice))[:count])
    if not found:
      raise ValueError("Pretrained.features: inputs have no rows.")
    return np.concatenate(found)


def load(
  run: epath.PathLike,
  model: str = "teacher",
  *,
  step: int | None = None,
  encoder: Spec | None = None,
  compute_dtype: str = "float32",
  num_devices: int | None = None,
  rule: str = "replicated",
) -> Pretrained:
  """Loads one network of a run; nothing else is read.

  Args:
    run: workdir, local or gs://.
    model: 'teacher' or 'student'; where a run has no teacher, only 'student'.
    step: of the checkpoint; None: the newest valid one.
    encoder: arguments of the encoder that are changed, such as image_size:
      positions are interpolated.
    compute_dtype: dtype of matrix products.
    num_devices: how many devices share the work; None: all.
    rule: where parameters live on them, 'replicated' or 'fsdp'.

  Raises:
    ValueError: there is no such run or model, or it does not fit.
  """
  run = epath.Path(run)
  config = config_lib.plain(provenance.read(run)["config"])
  modality = config.get("modality")
  if modality not in MODALITIES:
    raise ValueError(
      f"{run / 'run.json'}: unknown modality {modality!r}; choose one of: "
      f"{', '.join(sorted(MODALITIES))}."
    )
  network = config_lib.call(
    MODALITIES[modality].encoder,
    {**config["encoder"], **(encoder or {})},
    "encoder",
    compute_dtype=compute_dtype,
  )
  mesh = sharding.make_mesh(num_devices)
  source = Source(run, step)
  source.require(model)
  params = source.network(network, model, mesh, rule)
  return Pretrained(
    run, source.step, config, modality, network, model, params, mesh
  )


class Source:
  """A checkpoint that another run starts from or that features come from.

  Attributes:
    run: workdir.
    step: of the checkpoint.
    stored: item -> tree of shapes and dtypes.
  """

  def __init__(self, run: epath.PathLike, step: int | None = None):
    self.run = epath.Path(run)
    self._directory = self.run / "checkpoints"
    self.step, self.stored = checkpoint.describe(self._directory, step=step)

  @property
  def path(self) -> epath.Path:
    """Folder of the checkpoint."""
    return self._directory / str(self.step)

  @property
  def averaged(self) -> set[str]:
    """Sub-trees that the teacher has of its own; none without a teacher."""
    return set(self.stored.get("teacher_params", {}))

  def require(self, model: str) -> None:
    """Raises ValueError if there is no such network."""
    if model not in MODELS:
      raise ValueError(
        f"unknown model {model!r}; choose one of: {', '.join(MODELS)}."
      )
    if model == "teacher" and not self.averaged:
      raise ValueError(
        f"{self.run} has no teacher (its objective is {self._objective()!r}); "
        "choose the student."
      )

  def network(
    self, encoder: Encoder, model: str, mesh: jax.sharding.Mesh, rule: str
  ) -> Params:
    """The encoder's sub-trees of the student or the teacher, on devices."""
    without = {*SUB_TREES, *encoder.left_out}
    names = set(self.stored["params"]) - without
    return self.read(names, encoder, model, mesh, rule)

  def taken_by(self, objective: Any, name: str, params: Params) -> set[str]:
    """Names of the sub-trees that a new run takes from this one.

    All but what the objective names `fresh`, what its encoder leaves out, and
    the parts (head, decoder, ...) of another objective. Parts that are not
    there are no error.

    Args:
      objective: of the new run.
      name: its name in the table of objectives.
      params: its parameters, or their shapes.
    """
    without = {*getattr(objective, "fresh", ()), *objective.encoder.left_out}
    other = self._objective() not in (None, name)
    without |= SUB_TREES - (set() if other else self.stored["params"].keys())
    return (set(self.stored["params"]) | set(params)) - without

  def _objective(self):
    """Name of the run's objective; None where nothing tells it."""
    try:
      config = provenance.read(self.run)["config"]
    except ValueError:
      return None
    return config.get("objective", {}).get("name")

  def read(
    self,
    names: Iterable[str],
    encoder: Encoder,
    model: str,
    mesh: jax.sharding.Mesh,
    rule: str,
  ) -> Params:
    """Sub-trees of the student, or of what the teacher is to it.

    Args:
      names: of top-level sub-trees.
      encoder: to whose input size positions are fitted.
      model: 'student' or 'teacher', of which each sub-tree comes from its own
        average where there is one, else from the student.
      mesh: the devices.
      rule: 'replicated' or 'fsdp'.
    """
    names, own = set(names), set()
    if model == "teacher":
      own = self.averaged & names
    params = self._item("teacher_params", own, mesh, rule)
    params |= self._item("params", names - own, mesh, rule)
    return encoder.resize(params)

  def _item(self, item, names, mesh, rule):
    if not names:
      return {}
    stored = self.stored[item]
    tree = {name: stored[name] for name in stored if name in names}
    where = sharding.state_sharding(tree, mesh, rule)
    abstract = jax.tree.map(
      lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
      tree,
      where,
    )
    ignore = tuple(set(stored) - names)
    _, params = checkpoint.load_item(
      self._directory, item, abstract, step=self.step, ignore=ignore
    )
    return params


def inherit(config: Any, workdir: epath.PathLike | None = None) -> Spec:
  """A config with what it leaves to the run of its `init_from`.

  These are the modality, arguments of the encoder, and of config.data what
  inputs are made with (channels, the tokenizer). What the config gives itself
  stays.

  Args:
    config: a config, with or without `init_from`.
    workdir: where the new run lives. Once it has begun, what it took is read
      from its own run.json, and the other run need not exist any more.

  Raises:
    ConfigError: init_from is not the workdir of a run.
  """
  spec = config_lib.plain(config)
  given = spec.get("init_from")
  if not given:
    return spec
  sources = [epath.Path(given)]
  if workdir is not None and (epath.Path(workdir) / "run.json").exists():
    sources.insert(0, epath.Path(workdir))
  for source in sources:
    try:
      theirs = config_lib.plain(provenance.read(source)["config"])
    except ValueError as e:
      raise ConfigError(
        f"config.init_from must be the workdir of a run, got {given!r}: {e}"
      ) from e
    if source == epath.Path(given) or theirs.get("init_from") == given:
      break
  merged = {"modality": theirs.get("modality"), **spec}
  merged["encoder"] = {**theirs.get("encoder", {}), **spec.get("encoder", {})}
  data = theirs.get("data", {})
  made_with = {k: data[k] for k in INPUTS_MADE_WITH if k in data}
  if made_with:
    merged["data"] = {**made_with, **spec.get("data", {})}
  return merged
