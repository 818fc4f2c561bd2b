"""Measures what a pretrained network has learned, on its frozen features.

A config of a probe has no `objective`: nothing is trained but the probes of its
evaluators. What it does not say is as in the run of its `init_from`.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import jax
import tqdm
from etils import epath

from d2v_jax import config as config_lib
from d2v_jax import pretrained
from d2v_jax.config import ConfigError, Spec
from d2v_jax.data.dataset import Dataset
from d2v_jax.evaluators import evaluate
from d2v_jax.evaluators.feature_extractor import FeatureExtractor
from d2v_jax.evaluators.features import Asked, Predictions, SplitFeatures
from d2v_jax.modalities import MODALITIES
from d2v_jax.pretrained import Pretrained
from d2v_jax.training import evaluation as evaluation_lib
from d2v_jax.training import sharding as sharding_lib
from d2v_jax.training.inherited import inherit
from d2v_jax.training.logs.metrics import Terminal
from d2v_jax.training.references import References
from d2v_jax.training.workdir import provenance


@dataclasses.dataclass(frozen=True)
class Probe:
  """A probe built from its config."""

  config: dict[str, Any]
  models: dict[str, Pretrained]
  evaluation: evaluation_lib.Evaluation

  @property
  def step(self) -> int:
    """Of the checkpoint."""
    return next(iter(self.models.values())).step


@dataclasses.dataclass(frozen=True)
class ProbePlan:
  """A probe, built from its config alone.

  Attributes:
    dataset: config.data.
    evaluation: config.evaluation.
    read: reads the networks and opens the data.
  """

  dataset: Dataset
  evaluation: evaluation_lib.EvaluationPlan
  read: Callable[[], Probe]


def is_probe(config: Any) -> bool:
  """Whether a config describes a probe: nothing to train, nothing to do it."""
  return "init_from" in config and not {"objective", "optimizer"} & {
    key for key, value in config.items() if value is not None
  }


def run(
  config: Any,
  workdir: epath.PathLike,
  given: Mapping[str, Any] | None = None,
) -> tuple[int, dict[str, float]]:
  """Runs the evaluators on the networks that they ask for.

  Writes run.json, evaluation.json and references.json, and says on stderr where
  the features stand.

  Args:
    config: of the probe.
    workdir: where the results go.
    given: split -> data that stand in no file.

  Returns:
    Step of the checkpoint, and metrics by name.

  Raises:
    ValueError: the config, the run or the data do not fit.
  """
  probe = from_config(config, workdir, given)
  if jax.process_index() == 0:
    provenance.record_start(epath.Path(workdir), probe.config, probe.step)
    for asked_for, model in probe.models.items():
      if asked_for != model.model:
        print(
          f"{model.run} has no {asked_for}; its {model.model} is probed",
          file=sys.stderr,
        )
  extractors = {
    k: _extractor(probe, model) for k, model in probe.models.items()
  }

  def extract(asked: Asked) -> SplitFeatures:
    assert not isinstance(asked, Predictions)  # see `_plan`
    params = probe.models[asked.model].params
    return extractors[asked.model](params, {}, asked)

  terminal = Terminal(0, sys.stderr, quiet=jax.process_index() != 0)
  results = evaluate(
    probe.evaluation.evaluators,
    extract,
    lambda name: terminal.activity(f"evaluating: {name}"),
  )
  terminal.close()
  provenance.record_evaluation(workdir, probe.step, results)
  name, model = next(iter(probe.models.items()))
  references = References(
    epath.Path(workdir),
    probe.config,
    probe.evaluation,
    model.encoder,
    extractors[name],
    model.mesh,
  )
  for line in references.lines(results):
    if jax.process_index() == 0:
      print(line, file=sys.stderr)
  return probe.step, results


def from_config(
  config: Any,
  workdir: epath.PathLike | None = None,
  given: Mapping[str, Any] | None = None,
) -> Probe:
  """Reads the networks that are needed, and what to evaluate them on.

  Raises:
    ConfigError: names the field, what was got and what is allowed.
    ValueError: the networks cannot be read.
  """
  return plan(config, workdir, given).read()


def plan(
  config: Any,
  workdir: epath.PathLike | None = None,
  given: Mapping[str, Any] | None = None,
) -> ProbePlan:
  """What `from_config` checks before it reads anything.

  Raises:
    ConfigError: names the field, what was got and what is allowed.
  """
  spec = inherit(config, workdir)
  spec.pop("objective", None)
  if not spec.get("init_from"):
    config_lib.check_fields(spec, config_lib.field_names(_plan), "config")
    raise ConfigError(
      "config.init_from: give the workdir of the run to probe. (A config "
      "without `objective` trains nothing.)"
    )
  return config_lib.call(_plan, spec, "config", config=spec, given=given)


def _plan(
  *,
  config: dict[str, Any],
  given: Mapping[str, Any] | None,
  init_from: str,
  modality: Literal["vision", "speech", "spectrogram", "signal", "text"],
  encoder: Spec,
  evaluation: Spec,
  data: Spec | None = None,
  step: int | None = None,
  sharding: Literal["replicated", "fsdp"] = "replicated",
  num_devices: int | None = None,
  compute_dtype: str = "float32",
) -> ProbePlan:
  row = MODALITIES[modality]
  network = config_lib.build(
    encoder, row.encoders, "config.encoder", compute_dtype=compute_dtype
  )
  dataset = config_lib.call(
    row.data,
    data or {},
    "config.data",
    run={"inputs": network.inputs, "given": given},
  )
  dataset.check()
  with config_lib.errors_at("config.num_devices"):
    mesh = sharding_lib.make_mesh(num_devices, sharding)
  measured = evaluation_lib.plan(evaluation, dataset, mesh, network.grid)
  models: list[str] = []
  for evaluator in measured.evaluators.values():
    if isinstance(evaluator.features, Predictions):
      models.clear()
      break
    models.append(evaluator.features.model)
  if not models:
    raise ConfigError(
      "config.evaluation.evaluators: a probe measures frozen features; got "
      f"{sorted(measured.evaluators) or 'none'}; choose for instance "
      "linear_probe, knn, layer_curve or low_shot."
    )

  def read() -> Probe:
    networks = {
      model: pretrained.load(
        init_from,
        # The teacher, but of runs that have none: of an imported encoder, say.
        None if model == "teacher" else model,
        step=step,
        encoder=encoder,
        compute_dtype=compute_dtype,
        num_devices=num_devices,
        rule=sharding,
      )
      for model in dict.fromkeys(models)
    }
    return Probe(config, networks, measured.open())

  return ProbePlan(dataset, measured, read)


def _extractor(probe: Probe, model: Pretrained) -> FeatureExtractor:
  return FeatureExtractor(
    model.encoder,
    functools.partial(_with_progress, probe.evaluation.batches),
    functools.partial(
      sharding_lib.to_devices,
      sharding=sharding_lib.batch_sharding(model.mesh),
    ),
    grid=model.encoder.grid,
  )


def _with_progress(batches: Any, split: str) -> Iterable[Any]:
  return tqdm.tqdm(
    batches(split), f"features of {split}", unit=" batches", disable=None
  )
