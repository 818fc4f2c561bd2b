"""A section of examples and those that are most like them."""

import numpy as np

from d2v_jax.evaluators.features import Features
from d2v_jax.evaluators.knn import Knn
from d2v_jax.report.examples import Shown
from d2v_jax.report.markup import Element, tag
from d2v_jax.report.network import Network
from d2v_jax.report.page import note
from d2v_jax.report.pictures.encoded import sound

EXAMPLES = 6
NEIGHBOURS = 5


def content(network: Network) -> list[Element]:
  """Examples with their nearest neighbours by the cosine of features.

  Raises:
    ValueError: there are no weights, or the data cannot be read.
  """
  bank, asked = network.parts
  _, features = network.evaluator(Knn)
  known = network.vectors(bank, features)
  few = asked.only(asked.indices[:EXAMPLES])
  wanted = network.vectors(few, features)
  cosines, places = nearest(known.features, wanted.features, NEIGHBOURS)
  made = []
  for i, shown in enumerate(few.read(wanted.indices)):
    found = bank.read(known.indices[places[i]])
    cells = [_cell(network, shown, few.said(shown))]
    for other, cosine in zip(found, cosines[i], strict=True):
      said = f"{cosine:.4f}"
      if label := bank.said(other):
        same = shown.label == other.label
        said = f"{'✓' if same else '✗'} {label} · {said}"
      cells.append(_cell(network, other, said))
    made.append(tag("div", *cells, class_="neighbours"))
  return [
    note(
      f"Examples from {asked.split} (left) and the {NEIGHBOURS} most like "
      f"them among {len(known.indices):,} of {len(bank.source):,} from "
      f"{bank.split}, drawn at random: by the cosine of the {features.model}'s "
      f"features, {reading(features)}, at step {network.model.step}. ✓ is the "
      "same class, ✗ another one."
    ),
    *made,
  ]


def nearest(
  bank: np.ndarray, x: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
  """The rows of a bank with the highest cosines.

  Args:
    bank: [n, E].
    x: [m, E].
    count: how many, if there are so many.

  Returns:
    Cosines [m, k] from the highest down, and places in the bank [m, k].
  """
  bank, x = (
    a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12)
    for a in (bank, x)
  )
  cosines = x @ bank.T
  places = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
  return np.take_along_axis(cosines, places, 1), places


def reading(features: Features) -> str:
  """Says which features they are."""
  layers = features.layers
  where = "final output"
  if layers is not None:
    where = f"layer {', '.join(map(str, layers))}"
  return f"{where}, {features.pool}"


def _cell(network: Network, shown: Shown, said: str) -> Element:
  made = tag("div", network.drawer.plain(shown.row), title=shown.name)
  if shown.samples is not None:
    made.append(sound(shown.samples, shown.rate))
  made.append(tag("p", said or shown.name, class_="small"))
  return made
