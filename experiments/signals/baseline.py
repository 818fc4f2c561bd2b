"""Logistic regression on simple numbers of each channel of signals.

  python -m experiments.signals.baseline TRAIN.ts TEST.ts

Mean, standard deviation, smallest and largest value of each channel; the
strength of the penalty is chosen by five-fold cross-validation on the training
signals. Prints the accuracy on the others.
"""

import sys
from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from d2v_jax.data.signals.ts_file import TsFile


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  (x, y), (x_test, y_test) = map(features, argv)
  folds = StratifiedKFold(5, shuffle=True, random_state=0)
  regression = LogisticRegressionCV(Cs=10, cv=folds, max_iter=5000)
  model = make_pipeline(StandardScaler(), regression).fit(x, y)
  print(f"accuracy {model.score(x_test, y_test):.3f}")
  return 0


def features(path: str) -> tuple[np.ndarray, np.ndarray]:
  """Numbers [n, 4 C] of the signals of a file, and their classes [n]."""
  source = TsFile(path)
  rows = []
  for i in range(len(source)):
    x = source[i]["signal"]  # [T, C]
    rows.append(np.concatenate([x.mean(0), x.std(0), x.min(0), x.max(0)]))
  return np.stack(rows), np.array(source.labels)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
