"""What is done with a config and a workdir: train, evaluate."""

import os
from typing import TypeAlias

import ml_collections
from etils import epath

from d2v_jax import config_file, probe
from d2v_jax.config import ConfigError
from d2v_jax.training import build, loop, provenance

Config: TypeAlias = str | os.PathLike[str] | ml_collections.ConfigDict


def train(config: Config, workdir: epath.PathLike) -> None:
  """Trains, from the workdir's newest checkpoint on if there is one.

  A config of a probe, which trains nothing, is evaluated.

  Args:
    config: one of ours by name, such as 'digits', the path of a file, or what
      `config_file.load` has made of one.
    workdir: where the run lives: a folder, or gs://bucket/path.

  Raises:
    ValueError: the config, the data or the workdir do not fit.
    health.UnhealthyRun: the run collapsed or diverged.
    loop.Interrupted: after SIGTERM or SIGINT, with the state saved.
  """
  config = loaded(config)
  if probe.is_probe(config):
    measure(config, workdir)
  else:
    workdir = writable(workdir)
    loop.train(build.from_config(config, workdir), workdir)


def evaluate(
  workdir: epath.PathLike, config: Config | None = None
) -> dict[str, float]:
  """Measures a run anew, without changing it; writes evaluation.json.

  Args:
    workdir: of the run; with the config of a probe, where results go.
    config: another than the run's own, as for `train`.

  Returns:
    `step` of the checkpoint, and what was measured by name.

  Raises:
    ValueError: there is no such run, or the config does not fit it.
  """
  return measure(to_evaluate(workdir, config), workdir)


def measure(
  config: ml_collections.ConfigDict, workdir: epath.PathLike
) -> dict[str, float]:
  """As `evaluate`, by a config that is used as it is."""
  workdir = writable(workdir)
  if probe.is_probe(config):
    step, results = probe.run(config, workdir)
  else:
    step, results = loop.evaluate(build.from_config(config, workdir), workdir)
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
  workdir = epath.Path(workdir)
  if config is None:
    return ml_collections.ConfigDict(provenance.read(workdir)["config"])
  given = loaded(config)
  if not probe.is_probe(given) and (workdir / "run.json").exists():
    # The network is the one that lies there.
    given.init_from = str(workdir)
  return given


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
    ValueError: it cannot be written.
  """
  workdir = epath.Path(workdir)
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    attempt = workdir / f".writable-{os.getpid()}"
    attempt.write_text("")
    attempt.unlink(missing_ok=True)
  except OSError as e:
    raise ValueError(
      f"cannot write to the workdir {workdir}: {e}; choose another folder."
    ) from e
  except ImportError as e:
    raise ValueError(
      f"cannot write to the workdir {workdir}: {e}; pip install gcsfs, or "
      "install d2v_jax with the extra `gcs`."
    ) from e
  return workdir
