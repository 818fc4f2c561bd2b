"""Pretrained weights, from the workdir of a run or of an import.

import d2v_jax
model = d2v_jax.load("runs/mine")
features = model.features(images)  # uint8 [n, H, W, C] -> float32 [n, D]
tokens = model.encode(images)  # float32 [n, N, D]
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from d2v_jax import config as config_lib
from d2v_jax.config import Spec
from d2v_jax.evaluators.features import (
  Features,
  pool_features,
  token_features,
)
from d2v_jax.modalities import MODALITIES
from d2v_jax.models.encoder import Batch, Encoder, EncoderOutput, Params
from d2v_jax.training import sharding
from d2v_jax.training.checkpoints.stored_run import StoredRun
from d2v_jax.training.workdir import provenance

Inputs: TypeAlias = np.ndarray | Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, repr=False)
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

  def __repr__(self) -> str:
    depth, _, _, width = self._shapes.block.shape
    count = sum(x.size for x in jax.tree.leaves(self.params))
    return (
      f"Pretrained({self.run}, step {self.step}, {self.model}: "
      f"{self.modality}, width {width} x depth {depth}, {count:,} parameters)"
    )

  @functools.cached_property
  def _shapes(self) -> EncoderOutput:
    """Of what the network makes of one input."""
    channels = (self.config.get("data") or {}).get("channels", 3)
    options = {"channels": channels} if self.modality == "vision" else {}
    batch = self.encoder.inputs.example(**options)
    return jax.eval_shape(self.encoder, self.params, batch)

  @functools.cached_property
  def _extract(self):
    def extract(params, batch, features):
      output = self.encoder(params, batch)
      return pool_features(output, features, self.encoder.grid)

    return jax.jit(extract, static_argnames="features")

  @functools.cached_property
  def _encode(self):
    def encode(params, batch, features):
      output = self.encoder(params, batch)
      values, sizes = token_features(output, features)
      shape = (*values.shape[:2], *(1,) * (values.ndim - 2))
      padding = jnp.arange(values.shape[1]) >= sizes[:, None]  # [B, N]
      return jnp.where(padding.reshape(shape), 0.0, values)

    return jax.jit(encode, static_argnames="features")

  def extract(self, batch: Batch, features: Features) -> jax.Array:
    """Features [B, E] of a batch, compiled once for each shape."""
    return self._extract(self.params, batch, features)

  def features(
    self,
    inputs: Inputs,
    *,
    layers: tuple[int, ...] | str | None = None,
    pool: str = "mean",
    batch_size: int = 64,
  ) -> np.ndarray:
    """One vector for each example that is in memory.

    `d2v features` reads files, and makes them ready for the network.

    Args:
      inputs: images uint8 [n, H, W, C]; utterances float32 [n, T] of zero mean
        and unit variance at 16 kHz; their log-mel frames float32 [n, frames,
        bands, 1], or signals float32 [n, T, C] at the encoder's rate, both
        normalised as config.data says; or tokens int32 [n, N] from <s>
        to </s>, filled with <pad>. For recordings of different lengths a dict
        of `inputs`, filled with zeros, and `padding` bool [n, N], which is True
        for the frames (`encoder.inputs.num_tokens`), or the patches of a
        spectrogram's last rows, that are filling.
      layers: None for the final output; the layers whose outputs are averaged,
        from 0 on or from -1 back; or 'all'.
      pool: how an example's tokens become one vector: 'mean', 'cls',
        'mean_std', 'cells:2', 'cells:8x2' or 'tokens' of images and
        spectrograms, 'segments:8' of all others;
        `d2v_jax.evaluators.pooling` says how each is made.
      batch_size: examples at a time; on several devices rounded up to a
        multiple.

    Returns:
      float32 [n, E]; [n, L + 1, E] for layers='all', the final output last.
      E is the width D, or with several parts P side by side P * D.

    Raises:
      ValueError: inputs do not fit the network, or there are none; or its
        tokens cannot be pooled so.
    """
    choice = Features(self.model, layers, pool)
    return self._in_batches(self._extract, inputs, choice, batch_size)

  def encode(
    self,
    inputs: Inputs,
    *,
    layers: tuple[int, ...] | str | None = None,
    batch_size: int = 64,
  ) -> np.ndarray:
    """A vector for each token of examples that are in memory.

    Args:
      inputs: as for `features`.
      layers: as for `features`.
      batch_size: as for `features`.

    Returns:
      float32 [n, N, D]; [n, N, L + 1, D] for layers='all', the final output
      last. Tokens are the patches of an image row by row, without a CLS token,
      the frames of an utterance, or those of a text. Padding is 0.

    Raises:
      ValueError: inputs do not fit the network, or there are none.
    """
    choice = Features(self.model, layers)
    return self._in_batches(self._encode, inputs, choice, batch_size)

  def _in_batches(self, function, inputs, choice, batch_size):
    batch = inputs if isinstance(inputs, Mapping) else {"inputs": inputs}
    batch = {k: np.asarray(v) for k, v in batch.items()}
    size = -(-batch_size // self.mesh.size) * self.mesh.size
    where = sharding.batch_sharding(self.mesh)
    results = []
    for start in range(0, len(batch["inputs"]), size):
      part = {k: v[start : start + size] for k, v in batch.items()}
      count = len(part["inputs"])
      # A last, shorter batch is filled with its own examples: one compilation.
      full = {k: np.resize(v, (size, *v.shape[1:])) for k, v in part.items()}
      device_batch = sharding.to_devices(full, where)
      values = function(self.params, device_batch, choice)
      results.append(np.asarray(values)[:count])
    if not results:
      raise ValueError("Pretrained: inputs have no examples.")
    return np.concatenate(results)


def load(
  run: epath.PathLike,
  model: str | None = None,
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
    model: 'teacher' or 'student'; None: the teacher, if there is one.
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
  network = config_lib.build(
    {**config["encoder"], **(encoder or {})},
    MODALITIES[modality].encoders,
    "encoder",
    compute_dtype=compute_dtype,
  )
  mesh = sharding.make_mesh(num_devices, rule)
  source = StoredRun(run, step)
  model = model or ("teacher" if source.averaged else "student")
  source.require(model)
  params = source.network(network, model, mesh)
  return Pretrained(
    run, source.step, config, modality, network, model, params, mesh
  )
