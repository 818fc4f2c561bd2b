"""What a config leaves to the run that it starts from."""

from collections.abc import Mapping
from typing import Any

from etils import epath

from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError
from d2v_jax.training.workdir import provenance

# Name of an objective that is the one of the run of `init_from`.
_SOURCE = "source"
# Fields of config.data that inputs are made with.
INPUTS_MADE_WITH = (
  "channels",
  "range",
  "background",
  "resize_ratio",
  "resampling",
  "keep_aspect",
  "variance_floor",
  "mean",
  "std",
  "tokenizer",
)


def inherit(
  config: Any, workdir: epath.PathLike | None = None
) -> dict[str, Any]:
  """A config with what it leaves to the run of its `init_from`.

  These are the modality, arguments of the encoder, and of config.data what
  inputs are made with (INPUTS_MADE_WITH: channels, the tokenizer, ...), and of
  the same objective, whose head is taken, the names of its classes. An
  objective called 'source' is that of the other run, with its masks. What
  the config gives itself stays; None leaves an argument of the encoder to its
  constructor.

  Args:
    config: a config, with or without `init_from`.
    workdir: where the new run lives. Once it has begun, what it took is read
      from its own run.json, and the other run need not exist any more.

  Raises:
    ConfigError: init_from is not the workdir of a run, or has no objective that
      could go on.
  """
  spec = config_lib.plain(config)
  given = spec.get("init_from")
  if not given:
    if _objective(spec) == _SOURCE:
      raise ConfigError(
        "config.objective.name: 'source' is the objective of the run that "
        "config.init_from names; give its workdir."
      )
    return spec
  sources = [epath.Path(given)]
  if workdir is not None and (epath.Path(workdir) / "run.json").exists():
    sources.insert(0, epath.Path(workdir))
  for source in sources:
    try:
      theirs = config_lib.plain(provenance.read(source)["config"])
    except (ValueError, IsADirectoryError) as e:
      if source != sources[-1]:
        continue  # its own record is damaged: the other run has it, too
      raise ConfigError(
        f"config.init_from must be the workdir of a run, got {given!r}: {e}"
      ) from e
    if source == epath.Path(given) or theirs.get("init_from") == given:
      break
  merged = {"modality": theirs.get("modality"), **spec}
  data = theirs.get("data", {})
  taken: tuple[str, ...] = INPUTS_MADE_WITH
  if _objective(spec) == _SOURCE:
    merged["objective"] = _going_on(spec, theirs, given)
    taken = (*taken, "mask")
  if _objective(merged) == _objective(theirs) is not None:
    taken = (*taken, "classes")  # the head comes along
  inherited = {
    "encoder": theirs.get("encoder", {}),
    "data": {k: data[k] for k in taken if k in data},
  }
  for name, fields in inherited.items():
    own = spec.get(name, {})
    # What is no section is an error of whoever reads it.
    if fields and isinstance(own, Mapping):
      merged[name] = {**fields, **own}
  if isinstance(merged.get("encoder"), Mapping):
    network = merged["encoder"].items()
    merged["encoder"] = {k: v for k, v in network if v is not None}
  return merged


def _going_on(
  spec: Mapping[str, Any], theirs: Mapping[str, Any], given: str
) -> dict[str, Any]:
  """The other run's objective, with what a config changes of it."""
  if _objective(theirs) is None:
    raise ConfigError(
      f"config.objective.name: 'source' is that of {given}, an encoder without "
      "an objective; name one and its parts, or take a config that "
      "does, such as continue_images, continue_speech or continue_text without "
      "':source'."
    )
  masks = (spec.get("data") or {}, theirs.get("data") or {})
  if not any("mask" in data for data in masks):
    raise ConfigError(
      f"config.objective.name: 'source' is that of {given}, "
      f"{_objective(theirs)!r}, and which masks it had is not known; set "
      "config.data.mask, or take a config that does, such as continue_images, "
      "continue_speech or continue_text without ':source'."
    )
  own = {**spec["objective"], "name": _objective(theirs)}
  return _merged(theirs["objective"], own)


def _merged(
  theirs: Mapping[str, Any], own: Mapping[str, Any]
) -> dict[str, Any]:
  """Sections of two, one in another; where both have a value, the second's."""
  made = {**theirs, **own}
  for name, value in own.items():
    if isinstance(value, Mapping) and isinstance(theirs.get(name), Mapping):
      made[name] = _merged(theirs[name], value)
  return made


def _objective(config: Mapping[str, Any]) -> str | None:
  """Name of a config's objective."""
  objective = config.get("objective")
  return objective.get("name") if isinstance(objective, Mapping) else None
