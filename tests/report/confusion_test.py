"""Counts are those of scikit-learn, and the probe is the run's."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from d2v_jax.evaluators.features import Features
from d2v_jax.evaluators.linear_probe import LinearProbe
from d2v_jax.report import confusion
from d2v_jax.report.network import Network
from tests.report import workdirs


def test_counts():
  rng = np.random.default_rng(0)
  y, guessed = rng.integers(0, 5, (2, 200))
  np.testing.assert_array_equal(
    confusion.confusion(y, guessed), confusion_matrix(y, guessed)
  )
  np.testing.assert_array_equal(
    confusion.confusion(np.array([0]), np.array([2])),
    [[0, 0, 1], [0, 0, 0], [0, 0, 0]],
  )


def probed(network, probe):
  plan = dataclasses.replace(
    network.opened.evaluation, evaluators={"linear_probe": probe}
  )
  opened = dataclasses.replace(network.opened, evaluation=plan)
  return Network(network.run, opened, network.drawer, 300)


def test_the_table_is_that_of_the_probe(networks):
  probe = LinearProbe(steps=50, learning_rates=(0.1,), weight_decays=(0.0,))
  network = probed(networks["vision"], probe)
  told, shown = confusion.content(network)
  cells = [[x.text for x in row] for row in shown.iter("tr")]
  assert [row[0] for row in cells[1:]] == cells[0][1:] == list("0123456789")
  counts = np.array(
    [[int(x.replace("·", "0")) for x in row[1:]] for row in cells[1:]]
  )
  bank, asked = network.parts
  x, test = (network.vectors(p, Features()) for p in (bank, asked))
  fitted, _ = probe.fit(x.features, x.labels)
  accuracy = probe.accuracy(fitted, test.features, test.labels)
  assert np.trace(counts) / counts.sum() == pytest.approx(accuracy)
  np.testing.assert_array_equal(
    counts.sum(1), np.bincount(test.labels, minlength=10)
  )
  assert f"accuracy {accuracy:.3f}" in workdirs.text_of(told)
  assert "learned from 300 of 1,297" in workdirs.text_of(told)


def test_many_classes_are_listed_by_their_mistakes():
  counts = np.diag(np.full(30, 5))
  counts[3, 4], counts[7, 1] = 9, 2
  shown = confusion._pairs(counts, [f"<{i}>" for i in range(30)])
  cells = [[x.text for x in row] for row in shown.iter("tr")]
  assert cells[1:] == [["<3>", "<4>", "9 of 14"], ["<7>", "<1>", "2 of 7"]]


def test_no_labels(networks):
  network = networks["vision"]
  made = Network(network.run, network.opened, network.drawer, 20)
  bank, asked = made.parts
  made._vectors = {
    key: value._replace(labels=None)
    for key, value in (
      ((p.split, p.indices.tobytes(), Features()), made.vectors(p, Features()))
      for p in (bank, asked)
    )
  }
  with pytest.raises(ValueError, match="needs one class for each example"):
    confusion.content(made)
