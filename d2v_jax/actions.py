"""What is done with a config and a workdir: train, evaluate."""

import os
from collections.abc import Mapping
from typing import Any, TypeAlias

import ml_collections
from etils import epath

from d2v_jax import config_file, head_scores, probe
from d2v_jax.config import ConfigError
from d2v_jax.data import given as given_lib
from d2v_jax.deriving import derive, marks
from d2v_jax.evaluators.features import is_split
from d2v_jax.report import after_training
from d2v_jax.training import build, loop
from d2v_jax.training.checkpoints import outages
from d2v_jax.training.start import Start
from d2v_jax.training.trouble import health
from d2v_jax.training.workdir import provenance

Config: TypeAlias = str | os.PathLike[str] | ml_collections.ConfigDict


def train(
  config: Config,
  workdir: epath.PathLike,
  data: Any | None = None,
  start: Start | None = None,
) -> None:
  """Trains, from the workdir's newest checkpoint on if there is one.

  A config of a probe, which trains nothing, is evaluated.

  Args:
    config: one of ours by name, such as 'digits', the path of a file, or what
      `config_file.load` has made of one.
    workdir: where the run lives: a folder, or gs://bucket/path.
    data: arrays or records to train on, in place of config.data.source; or a
      dict of such by split: 'train', 'test', 'test_...', which are evaluated,
      too, and 'source', if that is trained on in place of 'train'. Each is an
      array or list of examples, a dict of arrays, such as {'image': ...,
      'label': ...}, {'audio': ..., 'rate': 16000} or {'text': ...}, or a source
      of such dicts with a length and source[i], as Grain's are. They are not
      stored: to go on with the run or to evaluate it they are given again.
    start: how it is started, beside its config; None: as usual.

  Raises:
    ValueError: the config, the data or the workdir do not fit.
    lease.InUse: another run that lives owns the workdir.
    health.UnhealthyRun: the run collapsed or diverged.
    loop.Interrupted: after SIGTERM or SIGINT, with the state saved.
  """
  config, given = _with_data(loaded(config), data)
  if probe.is_probe(config):
    measure(config, workdir, given)
  else:
    workdir = writable(workdir)
    if marks.is_open(config):
      config = derive.for_run(config, workdir, given)
    run = build.from_config(config, workdir, given)
    try:
      trained = loop.train(run, workdir, start)
    except health.UnhealthyRun:
      after_training.write(workdir, run.report)
      raise
    if trained:
      after_training.write(workdir, run.report)


def evaluate(
  workdir: epath.PathLike,
  config: Config | None = None,
  data: Any | None = None,
) -> dict[str, float]:
  """Measures a run anew, without changing it; writes evaluation.json.

  Args:
    workdir: of the run; with the config of a probe, where results go.
    config: another than the run's own, as for `train`.
    data: as for `train`.

  Returns:
    `step` of the checkpoint, and what was measured by name.

  Raises:
    ValueError: there is no such run, or the config does not fit it.
  """
  config, given = _with_data(to_evaluate(workdir, config), data)
  return measure(config, workdir, given)


def measure(
  config: ml_collections.ConfigDict,
  workdir: epath.PathLike,
  given: Mapping[str, Any] | None = None,
) -> dict[str, float]:
  """As `evaluate`, by a config that is used as it is."""
  workdir = writable(workdir)
  if probe.is_probe(config):
    step, results = probe.run(config, workdir, given)
  elif head_scores.is_untrained(config):
    step, results = head_scores.run(config, workdir, workdir, given)
  else:
    run = build.from_config(config, workdir, given)
    step, results = loop.evaluate(run, workdir)
  return {"step": step, **results}


def loaded(config: Config) -> ml_collections.ConfigDict:
  """The config of a name or a file, or a copy of one."""
  if isinstance(config, ml_collections.ConfigDict):
    return config.copy_and_resolve_references()
  return config_file.load(os.fspath(config))


def to_evaluate(
  workdir: epath.PathLike, config: Config | None
) -> ml_collections.ConfigDict:
  """The config that a run is evaluated by: its own, or the one that is given.

  Raises:
    ValueError: none is given, and there is no run.
  """
  workdir = _folder(workdir)
  if config is None:
    return ml_collections.ConfigDict(provenance.read(workdir)["config"])
  given = derive.for_evaluation(loaded(config), workdir)
  if not probe.is_probe(given) and (workdir / "run.json").exists():
    # The network is the one that lies there.
    given.init_from = str(workdir)
  return given


def _with_data(
  config: ml_collections.ConfigDict, data: Any | None
) -> tuple[ml_collections.ConfigDict, dict[str, Any] | None]:
  """A config whose sources stand for what is given, and that by split."""
  if data is None:
    return config, None
  config = config.copy_and_resolve_references()
  given = given_lib.splits(data)
  trained_on = "source" if "source" in given else "train"
  with config.unlocked(), config.ignore_type():
    if trained_on in given and not probe.is_probe(config):
      _set(config, "data", "source", trained_on)
    # One split alone is only trained on: an evaluation compares several.
    if given_lib.is_splits(data):
      for split in filter(is_split, given):
        _set(config, "evaluation", split, split)
  used = given_lib.mentioned(config.to_dict())
  if unused := sorted(set(given) - used):
    raise ConfigError(
      f"data: nothing reads {unused[0]!r}; splits are called source, train, "
      "test and test_..., or as in a source dict(name='given', split=...) of "
      "the config."
    )
  return config, given


def _set(
  config: ml_collections.ConfigDict, section: str, field: str, split: str
) -> None:
  if config.get(section) is None:
    config[section] = ml_collections.ConfigDict()
  given = {"name": given_lib.NAME, "split": split}
  config[section][field] = ml_collections.ConfigDict(given)


def check_frozen(config: ml_collections.ConfigDict, name: str) -> None:
  """Raises ConfigError if a config would train the network that it probes.

  Args:
    config: the config.
    name: what the user calls it.
  """
  objective = config.get("objective") or {}
  if not probe.is_probe(config) and not objective.get("frozen"):
    raise ConfigError(
      f"{name} trains a network, and is no config of a probe; use d2v train "
      "for it, or probe_images, probe_audio, probe_text, probe_digits or "
      "probe_attentive."
    )


def writable(workdir: epath.PathLike) -> epath.Path:
  """Makes the folder, and tries to write in it.

  Raises:
    OSError: the disk is full, or gone.
    ValueError: it has no name, or cannot be written.
  """
  workdir = _folder(workdir)
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    attempt = workdir / f".writable-{os.getpid()}"
    attempt.write_text("")
    attempt.unlink(missing_ok=True)
  except OSError as e:
    if outages.is_outage(e):
      raise
    raise ValueError(
      f"cannot write to the workdir {workdir}: {e}; choose another folder."
    ) from e
  except ImportError as e:
    raise ValueError(
      f"cannot write to the workdir {workdir}: {e}; pip install gcsfs, or "
      "install d2v_jax with the extra `gcs`."
    ) from e
  return workdir


def _folder(workdir: epath.PathLike) -> epath.Path:
  if not os.fspath(workdir).strip():
    raise ValueError(
      "the workdir is empty, as that of a shell's variable that is not set; "
      "give a folder, '.' for this one."
    )
  return epath.Path(workdir)
