"""Measures what the head of a run or an import predicts, on test data alone.

Neither data to train on nor anything else of training is asked for.
"""

import functools
from collections.abc import Mapping
from typing import Any, Literal

import ml_collections
from etils import epath

from d2v_jax import config as config_lib
from d2v_jax import run_shares
from d2v_jax.config import ConfigError, Spec
from d2v_jax.data.dataset import EVALUATION
from d2v_jax.data.table_files import ENDINGS
from d2v_jax.evaluators import evaluate
from d2v_jax.evaluators.feature_extractor import FeatureExtractor
from d2v_jax.modalities import MODALITIES
from d2v_jax.objectives import OBJECTIVES
from d2v_jax.training import evaluation as evaluation_lib
from d2v_jax.training import sharding as sharding_lib
from d2v_jax.training.checkpoints.stored_run import StoredRun
from d2v_jax.training.outputs import OF_CLASSES
from d2v_jax.training.workdir import provenance

# Objective -> what measures its predictions.
_EVALUATORS = {
  "classification": "classification",
  "ctc": "wer",
  "multi_label": "mean_average_precision",
  "regression": "regression",
}
# What a run's config has for training alone.
_TRAINING = ("schedule", "optimizer", "total_steps")


def is_untrained(config: Any) -> bool:
  """Whether a config is that of an import, which says nothing of training."""
  return "objective" in config and not any(key in config for key in _TRAINING)


def files_config(
  run: epath.PathLike,
  path: str,
  *,
  split: str | None = None,
  label: str | None = None,
  label_separator: str | None = None,
  columns: tuple[str, ...] = (),
) -> ml_collections.ConfigDict:
  """The config that measures a run on a folder or a table.

  Args:
    run: workdir of the run or import.
    path: a folder with class folders, or a table.
    split: of a table, the rows with this `split`; None for all.
    label: of a table, the column of classes, scores or transcripts.
    label_separator: what parts the several classes of a row, by default ','.
    columns: of a table of text, the column of the text, or of the pair.

  Raises:
    ValueError: there is no such run, or nothing can be measured so.
  """
  config = config_lib.plain(provenance.read(epath.Path(run))["config"])
  name = (config.get("objective") or {}).get("name")
  evaluator = _evaluator(name, str(run))
  modality = config["modality"]
  section: dict[str, Any]
  if label_separator is not None and name != "multi_label":
    raise ValueError(
      f"--label_separator: {run} learned {name}, where an example has no "
      "several classes; leave it out."
    )
  if path.lower().endswith(ENDINGS):
    section = _table(modality, name, label, columns) | {"path": path}
    if name == "multi_label":
      section["label_separator"] = (
        "," if label_separator is None else label_separator
      )
    if split:
      section["split"] = split
  else:
    given = {"--split": split, "--label": label, "--column": columns}
    wrong = [flag for flag, value in given.items() if value]
    if wrong or modality == "text" or name != "classification":
      raise ValueError(
        f"--data={path}: {', '.join(wrong) or f'{name} of {modality}'} needs a "
        f"table ({', '.join(ENDINGS)})."
      )
    section = {"name": "folder", "path": path, "labels": True}
  encoder = dict(config["encoder"])
  if modality == "speech" and encoder.get("conv_norm") != "group":
    # As if each recording came alone, which padding then leaves as it is.
    encoder["isolate_padding"] = True
  made = {
    "modality": modality,
    "encoder": encoder,
    "objective": config["objective"],
    "data": config.get("data", {}),
    "evaluation": {"test": section, "evaluators": {evaluator: {}}},
  }
  return ml_collections.ConfigDict(made)


def run(
  config: Spec,
  source: epath.PathLike,
  workdir: epath.PathLike,
  given: Mapping[str, Any] | None = None,
) -> tuple[int, dict[str, float]]:
  """Runs the evaluators on the newest checkpoint; writes evaluation.json.

  Args:
    config: modality, encoder, objective, data and evaluation. Without
      evaluators, the objective's own is run.
    source: workdir of the run.
    workdir: where the result goes.
    given: split -> data that stand in no file.

  Returns:
    Step of the checkpoint, and metrics by name.

  Raises:
    ValueError: the config, the run or the data do not fit.
  """
  spec = run_shares.resolved(config_lib.plain(config))
  step, results = config_lib.call(
    _run, spec, "config", source=source, given=given
  )
  provenance.record_evaluation(workdir, step, results)
  return step, results


def _run(
  *,
  source: epath.PathLike,
  given: Mapping[str, Any] | None,
  modality: Literal["vision", "speech", "spectrogram", "signal", "text"],
  encoder: Spec,
  objective: Spec,
  data: Spec | None = None,
  evaluation: Spec | None = None,
  sharding: Literal["replicated", "fsdp"] = "replicated",
  num_devices: int | None = None,
  compute_dtype: str = "float32",
) -> tuple[int, dict[str, float]]:
  name = objective.get("name")
  measured = dict(evaluation or {})
  measured.setdefault("evaluators", {_evaluator(name, str(source)): {}})
  if not any(measured.get(k) for k in measured if k.startswith("test")):
    raise ConfigError(
      f"{EVALUATION}: give data to test on: --data=PATH, or a source test=..."
    )
  row = MODALITIES[modality]
  network = config_lib.build(
    encoder, row.encoders, "config.encoder", compute_dtype=compute_dtype
  )
  fields = dict(data or {})
  if name in OF_CLASSES and not fields.get("classes"):
    # Outputs without names: labels must be their numbers.
    outputs = objective["head"]["num_outputs"]
    fields["classes"] = tuple(map(str, range(outputs)))
  if name == "regression" and modality != "vision":
    fields.setdefault("labels", {"name": "label"})
  dataset = config_lib.call(
    row.data,
    fields,
    "config.data",
    run={"inputs": network.inputs, "given": given},
  )
  learned = config_lib.build(
    objective,
    OBJECTIVES,
    "config.objective",
    run={"compute_dtype": compute_dtype, "grid": network.grid},
    encoder=network,
  )
  with config_lib.errors_at("config.num_devices"):
    mesh = sharding_lib.make_mesh(num_devices, sharding)
  stored = StoredRun(source)
  plan = evaluation_lib.plan(measured, dataset, mesh, network.grid)
  opened = plan.open()
  params, teacher_params = stored.trees(network, mesh)
  extractor = FeatureExtractor(
    sharding_lib.under(mesh, learned.encode),
    opened.batches,
    functools.partial(
      sharding_lib.to_devices, sharding=sharding_lib.batch_sharding(mesh)
    ),
    predict=learned.predict,
    scores=learned.scores,
    grid=network.grid,
  )
  extract = functools.partial(extractor, params, teacher_params)
  return stored.step, evaluate(opened.evaluators, extract)


def _evaluator(objective: str | None, run: str) -> str:
  """Name of what measures an objective's predictions."""
  if objective not in _EVALUATORS:
    raise ValueError(
      f"{run} predicts nothing that is measured here: its objective is "
      f"{objective!r}, not one of {', '.join(_EVALUATORS)}. `d2v probe` "
      "measures its features."
    )
  return _EVALUATORS[objective]


def _table(
  modality: str,
  objective: str | None,
  label: str | None,
  columns: tuple[str, ...],
) -> dict[str, Any]:
  """Section of a source of a table, but for its path."""
  if columns and (modality != "text" or len(columns) > 2):
    raise ValueError(
      "--column: for text alone, one column or the two of a pair, got "
      f"{', '.join(columns)}."
    )
  speech = modality in ("speech", "spectrogram")
  section: dict[str, Any] = {"name": "manifest" if speech else "table"}
  if objective == "ctc":
    return section | {"text": label or "text"}
  section["label"] = label or "label"
  if objective == "regression":
    section["numeric"] = True
  return section | dict(zip(("text", "text_b"), columns, strict=False))
