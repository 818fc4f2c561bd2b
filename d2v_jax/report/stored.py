"""What the workdir of a run says of it, without its weights or data."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from d2v_jax import storage
from d2v_jax.training import references
from d2v_jax.training.logs import metrics
from d2v_jax.training.workdir import provenance


@dataclasses.dataclass(frozen=True)
class Stored:
  """A run, or a probe of one, as its files tell it.

  Attributes:
    workdir: where they are.
    label: what it is called on the page.
    config: what it was built from.
    starts: of its processes, the first one first.
    lines: of metrics.jsonl, by step.
    evaluation: of evaluation.json, with the step; {} where there is none.
    references: evaluator -> reference -> its metrics.
  """

  workdir: epath.Path
  label: str
  config: Mapping[str, Any]
  starts: Sequence[Mapping[str, Any]]
  lines: Sequence[Mapping[str, float]]
  evaluation: Mapping[str, float]
  references: Mapping[str, Mapping[str, Mapping[str, float]]]

  def points(self, name: str) -> list[tuple[float, float]]:
    """(step, value) of a metric: as it was logged, and evaluated later."""
    found = [(x["step"], x[name]) for x in self.lines if name in x]
    later = self.evaluation.get("step")
    is_newer = later is not None and all(step < later for step, _ in found)
    if name in self.evaluation and is_newer:
      found.append((self.evaluation["step"], self.evaluation[name]))
    return found

  def last(self, name: str) -> float:
    """The newest value of a metric; NaN where there is none."""
    if name in self.evaluation:
      return self.evaluation[name]
    return next((x[name] for x in reversed(self.lines) if name in x), math.nan)

  @property
  def names(self) -> list[str]:
    """All metrics, those of evaluation.json, too."""
    found = dict.fromkeys(k for x in self.lines for k in x)
    return [k for k in found | dict(self.evaluation) if k != "step"]


def read(workdir: epath.PathLike, label: str = "") -> Stored:
  """Reads a workdir.

  Args:
    workdir: of a run, an import or a probe.
    label: see `Stored`; by default the folder's name.

  Raises:
    ValueError: it is none, or what says so is damaged.
  """
  workdir = epath.Path(workdir)
  record = provenance.read(workdir)
  found = sorted(metrics.lines(workdir), key=lambda x: x["step"])
  return Stored(
    workdir,
    label or workdir.name,
    record["config"],
    [x for x in record.get("starts", []) if isinstance(x, dict)],
    [_numbers(x) for x in found],
    _evaluation(workdir),
    _references(workdir),
  )


def labels(workdirs: Sequence[str]) -> list[str]:
  """The shortest ends of paths by which they are told apart."""
  whole = (x if storage.in_bucket(x) else os.path.abspath(x) for x in workdirs)
  parts = [epath.Path(x).parts for x in whole]
  for size in range(1, max(map(len, parts)) + 1):
    found = ["/".join(x[-size:]) for x in parts]
    if len(set(found)) == len(found):
      return found
  return [f"{x} ({i})" for i, x in enumerate(workdirs, 1)]


def _evaluation(workdir: epath.Path) -> dict[str, float]:
  try:
    return _numbers(json.loads((workdir / provenance.EVALUATION).read_bytes()))
  except (OSError, ValueError):
    return {}


def _references(
  workdir: epath.Path,
) -> dict[str, dict[str, dict[str, float]]]:
  kept = references.entries(workdir / references.FILE)
  if not kept:
    return {}
  untrained, simple = (kept[-1].get(k) or {} for k in ("untrained", "simple"))
  return {
    name: {
      **({"untrained": untrained[name]} if name in untrained else {}),
      **simple.get(name, {}),
    }
    for name in dict.fromkeys([*untrained, *simple])
  }


def _numbers(values: Any) -> dict[str, float]:
  """What are numbers among the values of a JSON object."""
  if not isinstance(values, dict):
    return {}
  return {
    k: v
    for k, v in values.items()
    if isinstance(v, int | float) and math.isfinite(v)
  }
