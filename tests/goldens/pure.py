"""Pure functions of the reference: what a file of their numbers asks for.

The arrays of a file are named `<group>/<member>/...`: a group is one function,
each member a setting of it. Settings are tested one by one, so that an option
that is not built here skips the one that has it.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from tests.goldens.options import Options

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Pure:
  """One setting of one function.

  Attributes:
    group: name of the function.
    member: name of the setting, '' for a function that has only one.
    golden: its arrays, without the names of group and member; an array that is
      named as the member alone has the name ''.
    options: its options.
    meta: what the file says of itself.
    arrays: all arrays of the file, for inputs that settings share.
  """

  group: str
  member: str
  golden: Arrays
  options: Options
  meta: Mapping[str, Any]
  arrays: Arrays


@dataclasses.dataclass(frozen=True)
class Group:
  """How a group is checked.

  Attributes:
    check: reads the options, calls their `finish`, and compares.
    options: where the options stand in the file's `configs`, with braces for
      group and member; None for functions without options.
    single: whether it has one setting, and no names of members.
    shared: names of members that are inputs of all.
  """

  check: Callable[[Pure], None]
  options: str | None = None
  single: bool = False
  shared: tuple[str, ...] = ()


# Name of a group -> how it is checked; '*' stands for every other name.
Groups = Mapping[str, Group]


def members(
  arrays: Arrays, groups: Groups, inputs: frozenset[str]
) -> Iterator[tuple[str, str]]:
  """Group and member of each setting that a file has numbers of."""
  for name in sorted({n.split("/")[0] for n in arrays} - inputs):
    group = groups.get(name, groups.get("*"))
    if group is None or group.single:
      yield name, ""
      continue
    parts = {n.split("/")[1] for n in arrays if n.startswith(f"{name}/")}
    for member in sorted(parts - set(group.shared)):
      yield name, member


def check(
  meta: Mapping[str, Any],
  arrays: Arrays,
  groups: Groups,
  name: str,
  member: str,
) -> None:
  """Compares one setting; skips, with the reason, what is not built here."""
  group = groups.get(name, groups.get("*"))
  if group is None:
    pytest.skip(f"{meta['case']}: {name}: no such function here")
  prefix = f"{name}/{member}" if member else name
  options = {}
  if group.options is not None:
    where = group.options.format(group=name, member=member)
    options = meta["configs"][where]
  golden = {
    n.removeprefix(prefix).removeprefix("/"): value
    for n, value in arrays.items()
    if n == prefix or n.startswith(f"{prefix}/")
  }
  read = Options(options, where=f"{prefix}: ")
  group.check(Pure(name, member, golden, read, meta, arrays))
  read.finish()
