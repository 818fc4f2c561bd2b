"""What a section of the config may name as a source of records."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError
from d2v_jax.data import contents
from d2v_jax.data import given as given_lib
from d2v_jax.data import mixture as mixture_lib
from d2v_jax.data.given import Given
from d2v_jax.data.mixed_examples import MixedRecords
from d2v_jax.data.mixture import Mixture
from d2v_jax.data.renumbered import renumbered

Section = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class SourceSections:
  """Checks and opens sections of sources.

  Attributes:
    table: name -> constructor of a source, those of a modality.
    given: split -> data that stand in no file; None: there are none.
    given_records: (data, split) -> source of them.
    classes: names of the network's classes in their order; None: any.
  """

  table: Mapping[str, Callable]
  given: Mapping[str, Any] | None
  given_records: Callable[[Any, str], Any]
  classes: tuple[str, ...] | None = None

  @property
  def names(self) -> list[str]:
    """What a section to train on may name, in order."""
    return sorted([*self.table, mixture_lib.NAME])

  def check(self, section: Section, where: str) -> None:
    """Checks the section of a split to evaluate.

    Args:
      section: of the split.
      where: its path in the config.

    Raises:
      ConfigError: names the field, what was got and what is allowed.
    """
    if _named(section, mixture_lib.NAME):
      raise ConfigError(
        f"{where}: a mixture draws from its sources by their shares, but an "
        "evaluation takes every record once; give each source a split of its "
        "own, such as test_one and test_two."
      )
    self._check(section, self.table, where)

  def check_to_train(self, section: Section, where: str) -> None:
    """As `check`, of a section to train on, which may be a mixture."""
    if not _named(section, mixture_lib.NAME):
      every = {**self.table, mixture_lib.NAME: Mixture}
      self._check(section, every, where)
      return
    for k, part in enumerate(_mixture(section, where).sources):
      self._check(part, self.table, part_of(where, k))

  def open(self, section: Section, where: str) -> Any:
    """Opens a source of records.

    Raises:
      ConfigError: names the field, what was got and what is allowed.
    """
    if _named(section, given_lib.NAME):
      records = self._open_given(section, where)
    else:
      records = config_lib.build(section, self.table, where)
    return renumbered(records, self.classes, where)

  def open_to_train(self, section: Section, where: str) -> Any:
    """As `open`, of a section to train on, which may be a mixture."""
    if not _named(section, mixture_lib.NAME):
      return self._open_to_resume(section, where)
    mixture = _mixture(section, where)
    parts = [
      self._open_to_resume(part, part_of(where, k))
      for k, part in enumerate(mixture.sources)
    ]
    return MixedRecords(parts, mixture)

  def _open_to_resume(self, section: Section, where: str) -> Any:
    """A source that a run which goes on knows again."""
    source = self.open(section, where)
    if not hasattr(source, "identity"):
      source.identity = {
        f"{contents.NAME}, {where}": contents.fingerprint(source)
      }
    return source

  def _check(
    self, section: Section, table: Mapping[str, Callable], where: str
  ) -> None:
    if _named(section, given_lib.NAME):
      table = {given_lib.NAME: Given}
    config_lib.check(section, table, where)

  def _open_given(self, section: Section, where: str) -> Any:
    split = config_lib.build(section, {given_lib.NAME: Given}, where).split
    given = self.given or {}
    if split not in given:
      had = ", ".join(sorted(given))
      raise ConfigError(
        f"{where}: its data were given in Python, and are not stored with the "
        f"run: give {split!r} (again), as in d2v_jax.train(config, workdir, "
        f"data={{{split!r}: ...}}) or d2v_jax.evaluate(workdir, data=...)"
        + (f"; what is given is {had}." if had else ".")
      )
    with config_lib.errors_at(where):
      records = self.given_records(given[split], split)
      found = given_lib.fingerprint(records)
    records.identity = {f"fingerprint of the given data {split!r}": found}
    return records


def part_of(where: str, index: int) -> str:
  """Path in the config of a source of the mixture at a path."""
  return f"{where}.sources[{index}]"


def _named(section: Section, name: str) -> bool:
  return isinstance(section, Mapping) and section.get("name") == name


def _mixture(section: Section, where: str) -> Mixture:
  """The fields of a mixture; its sources are not opened."""
  return config_lib.build(section, {mixture_lib.NAME: Mixture}, where)
