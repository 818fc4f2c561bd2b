"""What the evaluations of a run are compared with, computed once and kept."""

import json
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from d2v_jax.evaluators.feature_extractor import FeatureExtractor
from d2v_jax.evaluators.references import measure, standing
from d2v_jax.models.encoder import Encoder
from d2v_jax.training.evaluation import Evaluation
from d2v_jax.training.workdir import side_files

FILE = "references.json"
# Fields of config.evaluation that change nothing in what is measured.
_NO_MATTER = ("every", "batch_size", "references")


class References:
  """References of one evaluation, and the file that keeps them.

  Args:
    workdir: where the file is.
    config: the config that the evaluation was built from.
    evaluation: what is measured, and on what.
    encoder: the network.
    extract: of its features.
    mesh: its devices.
  """

  def __init__(
    self,
    workdir: epath.Path,
    config: Mapping[str, Any],
    evaluation: Evaluation,
    encoder: Encoder,
    extract: FeatureExtractor,
    mesh: Mesh,
  ) -> None:
    self._path = workdir / FILE
    self._evaluation = evaluation
    self._encoder = encoder
    self._extract = extract
    self._mesh = mesh
    self._seed = config.get("seed", 0)
    self._evaluators = measure.compared(evaluation.evaluators)
    section = config["evaluation"]
    self._made_of = json.loads(
      json.dumps(
        {
          "evaluation": {
            k: v for k, v in section.items() if k not in _NO_MATTER
          },
          "examples": {k: len(x) for k, x in evaluation.records.items()},
          "data": config.get("data"),
          "encoder": config["encoder"],
          "seed": self._seed,
        }
      )
    )

  def begun(self, results: Mapping[str, float]) -> None:
    """Keeps what was measured before anything was learned."""
    if self._evaluators and results and self._evaluation.references:
      self._keep({"untrained": measure.by_evaluator(self._evaluators, results)})

  def lines(self, results: Mapping[str, float]) -> list[str]:
    """Says where learned features stand, after they were evaluated.

    What is not kept yet is computed, unless there is much to learn from.

    Args:
      results: of all evaluators, by `'<evaluator>/<metric>'`.

    Returns:
      Plain text; nothing where no accuracy of features was measured, or
      references are not wanted.
    """
    most = self._evaluation.references
    if not self._evaluators or not most:
      return []
    found = self._kept()
    y, test_y = (self._extract.labels[k] for k in ("train", "test"))
    assert y is not None and test_y is not None  # an accuracy was measured
    labels = measure.of_labels(y, test_y)
    said = []
    if labels["train"] > most:
      said.append(
        f"  simple features and an untrained encoder are not measured with "
        f"{labels['train']:.0f} training examples, more than "
        f"config.evaluation.references={most}"
      )
    else:
      found = self._complete(found)
    references: measure.References = {
      name: {
        **({measure.UNTRAINED: untrained[name]} if untrained else {}),
        **found.get("simple", {}).get(name, {}),
      }
      for untrained in [found.get("untrained")]
      for name in self._evaluators
    }
    learned = measure.by_evaluator(self._evaluators, results)
    return [
      *standing.lines(
        self._evaluators, learned, labels, references, self._encoder.grid
      ),
      *said,
    ]

  def _complete(self, found: dict[str, Any]) -> dict[str, Any]:
    start = time.monotonic()
    new: dict[str, Any] = {}
    # All processes must do the same, and one of them has the file.
    missing = multihost_utils.broadcast_one_to_all(
      np.array([name not in found for name in ("untrained", "simple")])
    )
    if missing[0]:
      new["untrained"] = measure.untrained(
        self._evaluators, self._extract, self._encoder, self._mesh, self._seed
      )
    if missing[1]:
      new["simple"] = measure.simple(
        self._evaluators, self._extract, self._encoder
      )
    if new:
      new["seconds"] = round(time.monotonic() - start, 1)
    return self._keep(new) if new else found

  def _kept(self) -> dict[str, Any]:
    """What the file has of this evaluation."""
    for entry in self._entries():
      if entry["of"] == self._made_of:
        return entry
    return {}

  def _keep(self, new: dict[str, Any]) -> dict[str, Any]:
    """Adds to what the file has; returns all of this evaluation."""
    entry = {"of": self._made_of, **self._kept(), **new}
    others = [x for x in self._entries() if x["of"] != self._made_of]
    if jax.process_index() == 0:
      text = json.dumps([*others, entry], indent=2) + "\n"
      side_files.replace(self._path, text)
    return entry

  def _entries(self) -> list[dict[str, Any]]:
    return entries(self._path)


def entries(path: epath.Path) -> list[dict[str, Any]]:
  """What a file of references has, of one evaluation each; the newest last."""
  try:
    found = json.loads(path.read_bytes())
  except (OSError, ValueError, RecursionError):
    return []  # none yet, or damaged: they are computed anew
  listed = found if isinstance(found, list) else []
  return [x for x in listed if isinstance(x, dict) and "of" in x]
