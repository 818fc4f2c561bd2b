"""Neighbours are those with the highest cosines, and are named rightly."""

import re

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from d2v_jax.evaluators.features import Features
from d2v_jax.report import neighbours
from tests import random_runs


def test_nearest():
  rng = np.random.default_rng(0)
  bank, x = rng.normal(size=(30, 5)), rng.normal(size=(4, 5))
  cosines, places = neighbours.nearest(bank, x, 6)
  model = NearestNeighbors(n_neighbors=6, metric="cosine").fit(bank)
  distances, expected = model.kneighbors(x)
  np.testing.assert_array_equal(places, expected)
  np.testing.assert_allclose(cosines, 1 - distances, atol=1e-12)


def test_fewer_than_asked():
  cosines, places = neighbours.nearest(np.eye(2), np.eye(2), 5)
  np.testing.assert_array_equal(places, [[0, 1], [1, 0]])
  np.testing.assert_allclose(cosines, [[1, 0], [1, 0]])


@pytest.mark.parametrize("modality", random_runs.CONFIGS)
def test_what_is_shown(networks, modality):
  network = networks[modality]
  bank, asked = network.parts
  content = neighbours.content(network)
  rows = [x for x in content if x.get("class") == "neighbours"]
  assert len(rows) == neighbours.EXAMPLES
  known = network.vectors(bank, Features())
  unit = known.features / np.linalg.norm(known.features, axis=1, keepdims=True)
  for row, index in zip(rows, asked.indices, strict=False):
    query, *found = row
    assert query.get("title") == asked.source.record_name(int(index))
    (shown,) = asked.read(np.array([index]))
    wanted = network.vectors(asked.only(np.array([index])), Features())
    cosines = unit @ wanted.features[0] / np.linalg.norm(wanted.features[0])
    best = np.sort(cosines)[::-1][: neighbours.NEIGHBOURS]
    said = [x.findall("p")[-1].text for x in found]
    np.testing.assert_allclose(
      [float(x.split()[-1]) for x in said], best, atol=1e-4
    )
    for cell, text in zip(found, said, strict=True):
      place = next(
        i
        for i in known.indices
        if bank.source.record_name(int(i)) == cell.get("title")
      )
      label = known.labels[known.indices.tolist().index(place)]
      mark, name = re.match(r"([✓✗]) (.+) · ", text).groups()
      assert name == (bank.class_names or [str(i) for i in range(10)])[label]
      assert (mark == "✓") == (label == shown.label)
    sounds = len(list(row.iter("audio")))
    heard = modality in ("speech", "spectrogram")
    assert sounds == (1 + len(found) if heard else 0)
