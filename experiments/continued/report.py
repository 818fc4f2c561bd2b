"""The table of all sets.

  python -m experiments.continued.report experiments/continued/*.json

Prints it as Markdown: means over seeds, with 95 % intervals of the mean by
Student's t; the value where there is one alone, nothing where there is none.
"""

import json
import pathlib
import sys
from collections.abc import Sequence

from d2v_jax.evaluators.interval import summary

ROWS = {
  "tf_idf": "TF-IDF, logistic regression",
  "untrained": "untrained encoder, probe",
  "probed": "import, probe",
  "continued_probed": "gone on, probe",
  "finetuned": "import, fine-tuned",
  "continued_finetuned": "gone on, fine-tuned",
}


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  print("\n".join(table(list(map(pathlib.Path, argv)))))
  return 0


def table(results: Sequence[pathlib.Path]) -> list[str]:
  """Lines of the table, with a column for each file of run.py."""
  lines = [
    ["", *(path.stem for path in results)],
    ["---"] * (len(results) + 1),
  ]
  found = []
  for path in results:
    content = json.loads(path.read_text())
    found.append({**content["references"], **content["accuracies"]})
  for name, title in ROWS.items():
    cells = (_interval(values.get(name, [])) for values in found)
    lines.append([title, *cells])
  return [f"| {' | '.join(line)} |" for line in lines]


def _interval(values: list[float]) -> str:
  if not values:
    return ""
  of = summary("x", values)
  if len(set(values)) == 1:
    return f"{of['x']:.3f}"
  return f"{of['x']:.3f} ({of['x_low']:.3f} to {of['x_high']:.3f})"


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
