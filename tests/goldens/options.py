"""The options of a case: each is used, has no effect here, or skips the case.

What is used is what an adapter reads, so that no list of names can promise more
than the code does; what has no effect stands in tables with the reason.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

# Reason -> names of options.
Inert = Mapping[str, Sequence[str]]


class Options:
  """Options of the reference, which takes note of those that are read.

  Args:
    values: name -> value; sections are dicts.
    inert: options without effect here, by reason.
    where: the path of the section, with a dot at its end, for messages.
  """

  def __init__(
    self, values: Mapping[str, Any], inert: Inert | None = None, where: str = ""
  ):
    self._values = values
    self._where = where
    self._known = {name for names in (inert or {}).values() for name in names}
    self._sections = []

  def __getitem__(self, name: str) -> Any:
    self._known.add(name)
    return self._values[name]

  def get(self, name: str, default: Any = None) -> Any:
    """The value, or the default where the case does not set the option."""
    return self[name] if name in self._values else default

  def section(self, name: str, inert: Inert | None = None) -> "Options":
    """The options of a section, which are checked along with these."""
    part = Options(self[name], inert, f"{self._where}{name}.")
    self._sections.append(part)
    return part

  def only(self, name: str, *allowed: Any) -> Any:
    """The value of an option that is built for some values alone."""
    value = self.get(name, allowed[0])
    if value not in allowed:
      self.skip(name)
    return value

  def off(self, *names: str) -> None:
    """Skips the case if one of these options is on."""
    for name in names:
      if self.get(name):
        self.skip(name)

  def ignore(self, reason: str, *names: str) -> None:
    """Says why options have no effect in this case, whatever their values."""
    del reason
    self._known.update(names)

  def skip(self, name: str, why: str = "not built here") -> None:
    """Skips the case because of one option."""
    pytest.skip(f"option {self._where}{name}={self._values[name]!r}: {why}")

  def finish(self) -> None:
    """Skips the case if an option is neither read nor known to be inert."""
    unread = ", ".join(f"{name}={value!r}" for name, value in self._unread())
    if unread:
      pytest.skip(f"options that nothing here reads: {unread}")

  def _unread(self):
    for name, value in self._values.items():
      if name not in self._known:
        yield self._where + name, value
    for section in self._sections:
      yield from section._unread()
