"""Derives what a config leaves open, once for a run.

First from the data: some records are looked at. Then from the machine: some
updates are timed, and there are as many as fit into config.minutes. The result
is kept in derived.json of the workdir, from which a run goes on.
"""

import contextlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import ml_collections
from etils import epath

from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError
from d2v_jax.data.checking import opening
from d2v_jax.deriving import cost, findings, rules, run_length, vocabulary
from d2v_jax.deriving.marks import (
  MINUTES,
  Chosen,
  filled,
  is_open,
  open_fields,
  with_values,
  without_open,
)
from d2v_jax.training import build
from d2v_jax.training.experiment import Experiment
from d2v_jax.training.inherited import inherit
from d2v_jax.training.workdir import side_files

FILE = "derived.json"

_FEWEST = 1_000  # updates, below which a smaller network is tried

Say = Callable[[str], None]


@contextlib.contextmanager
def from_data(
  config: ml_collections.ConfigDict,
) -> Iterator[ml_collections.ConfigDict]:
  """Gives the config of a run that is not begun, whose length nobody needs.

  What is chosen is told on stderr.

  Args:
    config: given as it is where nothing is to be derived.

  Raises:
    ConfigError: the data do not do, or a field is wrong.
  """
  if not is_open(config):
    yield config
    return
  config = _with_network_of_another(config, None)
  records, found = _look(config, None)
  chosen, its_rules = Chosen(config), rules.of(config)
  its_rules.choose(found, chosen, False, 1)
  with tempfile.TemporaryDirectory() as folder:
    for line in chosen.lines():
      print(line, file=sys.stderr)
    path = vocabulary.trained(chosen, records, folder)
    chosen.take(rules.TOKENIZER, path, "")
    rules.choose_length(chosen, its_rules, rules.SOME_STEPS, "")
    yield filled(config, chosen.values)


def for_run(
  config: ml_collections.ConfigDict,
  workdir: epath.Path,
  given: Mapping[str, Any] | None = None,
  say: Say = print,
) -> ml_collections.ConfigDict:
  """The config of a run, as it was derived when that began, or is now.

  Args:
    config: with fields that are to be derived.
    workdir: of the run.
    given: split -> data that stand in no file.
    say: is told what was chosen, and what is measured.

  Raises:
    ConfigError: the data do not do, there is too little time, or a field is
      wrong.
  """
  asked = _minutes(config)
  record = _read(workdir)
  if record is not None:
    if rules.LENGTH in open_fields(config) and asked != record[MINUTES]:
      raise ConfigError(
        f"config.{MINUTES}: got {asked:g}, but the run in {workdir} was made "
        f"for {record[MINUTES]:g}, and a run keeps its length; give that, or "
        "use another --workdir."
      )
    return filled(config, record["values"])
  if jax.process_count() > 1:
    raise ConfigError(
      f"config.{open_fields(config)[0]}: {jax.process_count()} processes "
      f"derive nothing together; derive with one, and give all of them the "
      f"values that its {FILE} has."
    )
  derivation = _Derivation(config, workdir, given, say, asked)
  chosen = derivation.chosen()
  for line in chosen.lines():
    say(line)
  made = filled(derivation.config, chosen.values)
  fields = dict(config_lib.flatten(config_lib.plain(made)))
  values = {path: fields[path] for path in open_fields(config)}
  new = {MINUTES: asked, "values": values, "why": chosen.reasons}
  side_files.replace(workdir / FILE, json.dumps(new, indent=2) + "\n")
  return made


def for_evaluation(
  config: ml_collections.ConfigDict, workdir: epath.PathLike
) -> ml_collections.ConfigDict:
  """The config as it was derived for the run in a workdir.

  Args:
    config: given back as it is where nothing is to be derived.
    workdir: of the run.

  Raises:
    ConfigError: nothing was derived there.
  """
  if not is_open(config):
    return config
  record = _read(epath.Path(workdir))
  if record is None:
    raise ConfigError(
      f"{workdir} has no {FILE}: the config leaves values to be derived, which "
      "d2v train does when a run begins; leave the config out to evaluate a "
      "run by its own."
    )
  return filled(config, record["values"])


class _Derivation:
  """What is done once for a run.

  Attributes:
    config: with the network of `init_from`, if it has one.
  """

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    workdir: epath.Path,
    given: Mapping[str, Any] | None,
    say: Say,
    minutes: float,
  ) -> None:
    self._begin = time.monotonic()
    self.config = _with_network_of_another(config, workdir)
    self._workdir, self._given, self._say = workdir, given, say
    self._minutes = minutes
    self._rules = rules.of(config)
    records, self._found = _look(self.config, given)
    say(f"{opening.TRAINING}: {self._found.count} records that can be used")
    self._tokenizer: str | None = None
    self._tokenizer = vocabulary.trained(
      self._sizes(False)[0], records, workdir
    )

  def chosen(self) -> Chosen:
    """Values of all fields; of the smaller network where time is short."""
    chosen, is_small = self._sizes(False)
    if not chosen.is_open(rules.LENGTH):
      total = chosen.get(rules.LENGTH)
      rules.choose_length(chosen, self._rules, total, "")
      return chosen
    run, measured = self._measured()
    # Another one has to start as well, here and in the run.
    can_try = not is_small and self._left > 2 * measured.start
    if can_try and measured.update * _FEWEST > self._left:
      self._say(
        f"an update takes {measured.update:.3g} s, and there is no time for "
        f"{_FEWEST} of them: a smaller network"
      )
      chosen, _ = self._sizes(True)
      run, measured = self._measured(small=True)
    spent = time.monotonic() - self._begin
    plain = config_lib.plain(self.config)
    every = (plain.get("evaluation") or {}).get("every", 0)
    total = run_length.updates(self._minutes, spent, measured, every)
    why = (
      f"of {measured.update:.3g} s in what {self._minutes:g} minutes leave "
      f"after {spent + measured.start:.0f} s"
    )
    most = run_length.most_updates(run.num_examples, run.batch_size)
    if most < total:
      total, why = most, f"{run_length.EPOCHS} epochs, the most"
    rules.choose_length(chosen, self._rules, total, why)
    return chosen

  @property
  def _left(self) -> float:
    return self._minutes * 60 - (time.monotonic() - self._begin)

  def _sizes(self, small: bool) -> tuple[Chosen, bool]:
    """Values of what depends on the data, and whether they are the smaller."""
    chosen = Chosen(self.config)
    devices = self.config.get("num_devices") or jax.device_count()
    is_small = self._rules.choose(self._found, chosen, small, devices)
    if self._tokenizer is not None:
      chosen.take(rules.TOKENIZER, self._tokenizer, "trained on the text")
    return chosen, is_small

  def _measured(
    self, small: bool = False
  ) -> tuple[Experiment, run_length.Timing]:
    chosen, _ = self._sizes(small)
    rules.choose_length(chosen, self._rules, rules.SOME_STEPS, "")
    trial = filled(self.config, chosen.values)
    run = build.from_config(trial, self._workdir, self._given)
    return run, cost.measured(run, self._say)


def _look(
  config: ml_collections.ConfigDict, given: Mapping[str, Any] | None
) -> tuple[Any, findings.Findings]:
  """The records of a config's source, and what they show."""
  # On one device, whatever the run has. What is misspelt is found here, too.
  some = rules.provisional(config)
  plan = build.plan(some, devices=jax.devices()[:1], given=given)
  records = plan.dataset.records()
  return records, findings.of(some.modality, plan.dataset, records)


def _with_network_of_another(
  config: ml_collections.ConfigDict, workdir: epath.Path | None
) -> ml_collections.ConfigDict:
  """A config with the network of its `init_from`, if it has one."""
  known = inherit(without_open(config_lib.plain(config)), workdir)
  return with_values(config, dict(config_lib.flatten(known)))


def _minutes(config: ml_collections.ConfigDict) -> float:
  minutes = config.get(MINUTES)
  is_number = isinstance(minutes, int | float) and not isinstance(minutes, bool)
  if not is_number or not 0 < minutes < math.inf:
    raise ConfigError(
      f"config.{MINUTES}: got {minutes!r}, but it must be a number above 0, "
      "the time for the whole run."
    )
  return float(minutes)


def _read(workdir: epath.Path) -> dict[str, Any] | None:
  """What was derived for the run in a workdir; None: nothing."""
  path = workdir / FILE
  if not path.exists():
    return None
  try:
    record = json.loads(path.read_text())
    return {MINUTES: float(record[MINUTES]), "values": dict(record["values"])}
  except (ValueError, TypeError, KeyError) as e:
    raise ConfigError(
      f"{path} is damaged ({e}); give the values that run.json has, or use "
      "another --workdir."
    ) from e
