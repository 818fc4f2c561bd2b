"""What a check of data finds, as sentences that say what to do."""

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from d2v_jax.data.files.unreadable import shown

_SHOWN = 3  # names in a sentence


class Finding(NamedTuple):
  """Something that is wrong with the data, or may be.

  Attributes:
    text: a sentence that says where, what, and what to do.
    stops: a run cannot train on such data.
  """

  text: str
  stops: bool = False


@contextlib.contextmanager
def noted(findings: list[Finding], where: str) -> Iterator[None]:
  """Makes findings of what stops a run and of what it would warn of.

  Args:
    findings: to which they are added.
    where: path in the config, with which each begins.
  """
  warnings = _Warnings()
  root = logging.getLogger()
  others, root.handlers = root.handlers, [warnings]
  try:
    yield
  except (ValueError, OSError) as error:
    if os.environ.get("D2V_TRACEBACK"):
      raise
    findings.append(Finding(_at(where, str(error)), stops=True))
  finally:
    root.handlers = others
    for text in warnings.texts:
      # What two splits have in common is said once.
      if not any(finding.text.endswith(text) for finding in findings):
        findings.append(Finding(_at(where, text)))


def named(names: Sequence[str]) -> str:
  """Returns the first names, and that there are more."""
  more = ", ..." if len(names) > _SHOWN else ""
  return ", ".join(map(shown, names[:_SHOWN])) + more


class _Warnings(logging.Handler):
  def __init__(self) -> None:
    super().__init__(logging.WARNING)
    self.texts: list[str] = []

  def emit(self, record: logging.LogRecord) -> None:
    self.texts.append(record.getMessage())


def _at(where: str, text: str) -> str:
  return text if text.startswith("config.") else f"{where}: {text}"
