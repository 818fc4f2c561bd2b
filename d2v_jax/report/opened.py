"""The data and the network of a run, as its config says."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from d2v_jax import config as config_lib
from d2v_jax import run_shares
from d2v_jax.data.dataset import Dataset
from d2v_jax.evaluators import placed
from d2v_jax.modalities import MODALITIES
from d2v_jax.models.encoder import Encoder
from d2v_jax.training import evaluation
from d2v_jax.training.evaluation import EvaluationPlan


@dataclasses.dataclass(frozen=True)
class Opened:
  """What a config of a run, a probe or an import describes.

  Attributes:
    config: the config.
    network: the encoder.
    dataset: config.data.
    evaluation: config.evaluation; nothing in it where there is none.
    mesh: one device.
  """

  config: Mapping[str, Any]
  network: Encoder
  dataset: Dataset
  evaluation: EvaluationPlan
  mesh: jax.sharding.Mesh


def opened(config: Mapping[str, Any]) -> Opened:
  """What a config describes; no data are read.

  Args:
    config: of run.json, or one that a run would be started with.

  Raises:
    ConfigError: it does not fit this software.
  """
  row = MODALITIES[config["modality"]]
  network = config_lib.build(config["encoder"], row.encoders, "config.encoder")
  dataset = config_lib.call(
    row.data,
    config.get("data") or {},
    "config.data",
    run={"inputs": network.inputs, "given": None},
  )
  mesh = placed.one_device()
  section = run_shares.resolved(config).get("evaluation") or {}
  plan = evaluation.plan(section, dataset, mesh, network.grid)
  return Opened(config, network, dataset, plan, mesh)
