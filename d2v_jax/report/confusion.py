"""A section of which classes a linear probe takes for which."""

import numpy as np

from d2v_jax.evaluators.linear_classifiers import predict
from d2v_jax.evaluators.linear_probe import LinearProbe
from d2v_jax.report.markup import Element, table, tag
from d2v_jax.report.neighbours import reading
from d2v_jax.report.network import Network
from d2v_jax.report.page import note

# More classes make a table that nobody reads.
_MOST_CLASSES = 24
_PAIRS = 20


def content(network: Network) -> list[Element]:
  """How often each class of the test examples was taken for each.

  Raises:
    ValueError: there are no labels, no weights, or the data cannot be read.
  """
  bank, asked = network.parts
  probe, features = network.evaluator(LinearProbe)
  assert isinstance(probe, LinearProbe)
  learned = network.vectors(bank, features)
  tested = network.vectors(asked, features)
  if learned.labels is None or tested.labels is None:
    raise ValueError(
      "a linear probe needs one class for each example, and these have none "
      "(labels of config.data.source or config.evaluation)."
    )
  fitted, _ = probe.fit(learned.features, learned.labels)
  guessed = predict(fitted, tested.features)
  counts = confusion(tested.labels, guessed)
  names = [
    *bank.class_names,
    *map(str, range(len(bank.class_names), len(counts))),
  ]
  told = note(
    f"A linear probe of the {features.model}'s features ({reading(features)}, "
    f"step {network.model.step}), learned from {len(learned.labels):,} of "
    f"{len(bank.source):,} examples from {bank.split} and tried on "
    f"{len(tested.labels):,} of {len(asked.source):,} from {asked.split}: "
    f"accuracy {np.trace(counts) / counts.sum():.3f}."
  )
  if len(counts) > _MOST_CLASSES:
    return [told, _pairs(counts, names)]
  return [told, _matrix(counts, names)]


def confusion(labels: np.ndarray, guessed: np.ndarray) -> np.ndarray:
  """Counts [C, C]: rows are the classes, columns what they were taken for.

  Args:
    labels: [n] class numbers.
    guessed: [n] likewise.
  """
  size = int(max(labels.max(), guessed.max())) + 1
  counts = np.zeros((size, size), int)
  np.add.at(counts, (labels, guessed), 1)
  return counts


def _matrix(counts: np.ndarray, names: list[str]) -> Element:
  size = len(counts)
  head = tag("tr", tag("th", "is \\ taken for"))
  for name in names[:size]:
    head.append(tag("th", name, scope="col"))
  body = tag("tbody")
  for name, row in zip(names, counts, strict=False):
    line = tag("tr", tag("th", name, scope="row"))
    for place, count in enumerate(row.tolist()):
      share = count / max(int(row.sum()), 1)
      line.append(
        tag(
          "td",
          str(count) if count else "·",
          class_="right" if place == len(body) else None,
          style=f"--share:{share:.3f}",
        )
      )
    body.append(line)
  return tag(
    "div",
    tag("table", tag("thead", head), body, class_="confusion"),
    class_="scroll",
  )


def _pairs(counts: np.ndarray, names: list[str]) -> Element:
  wrong = counts - np.diag(np.diag(counts))
  order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
  rows: list[tuple[Element | str, ...]] = []
  for is_, taken in zip(*np.unravel_index(order, counts.shape), strict=True):
    if wrong[is_, taken]:
      of = f"{wrong[is_, taken]} of {counts[is_].sum()}"
      rows.append((names[is_], names[taken], of))
  return table(("is", "was most often taken for", "examples"), rows)
