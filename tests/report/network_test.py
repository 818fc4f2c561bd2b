"""Features are those of the run's evaluators."""

import dataclasses

import numpy as np
import pytest

from d2v_jax.evaluators.features import Features
from d2v_jax.evaluators.knn import Knn
from d2v_jax.evaluators.linear_probe import LinearProbe
from d2v_jax.report import network as network_lib
from d2v_jax.training import build
from d2v_jax.training.checkpoints.stored_run import StoredRun
from d2v_jax.training.compiled_run import CompiledRun
from tests import random_runs


def test_features_are_those_of_the_evaluators(networks):
  network = networks["vision"]
  bank, _ = network.parts
  found = network.vectors(bank, Features("teacher", (0,), "mean_std"))
  run = build.from_config({**network.run.config, "num_devices": 1})
  source = StoredRun(network.run.workdir)
  params = source.network(network.model.encoder, "teacher", network.model.mesh)
  extract = CompiledRun(run)._extract
  x, y = extract(params, {}, Features("student", (0,), "mean_std"))["train"]
  np.testing.assert_allclose(found.features, x[found.indices], atol=1e-5)
  np.testing.assert_array_equal(found.labels, y[found.indices])


@pytest.mark.parametrize("modality", random_runs.CONFIGS)
def test_tokens_are_those_without_padding(networks, modality):
  network = networks[modality]
  _, asked = network.parts
  shown = asked.read(asked.indices[:6])
  found = network.tokens(shown)
  for x, tokens in zip(shown, found, strict=True):
    assert len(tokens) == network.drawer.tokens(x.row)
    assert np.abs(tokens).max(1).min() > 0
  alone = {k: v[None] for k, v in shown[-1].row.items()}
  expected = network.model.encode(alone, batch_size=6)[0, : len(found[-1])]
  np.testing.assert_allclose(found[-1], expected, atol=1e-4)


def reading(network, last, **features):
  """What is read off where an evaluator has chosen."""
  evaluators = {"knn": Knn(features=Features(**features))}
  plan = dataclasses.replace(network.opened.evaluation, evaluators=evaluators)
  run = dataclasses.replace(network.run, lines=[last])
  opened = dataclasses.replace(network.opened, evaluation=plan)
  made = network_lib.Network(run, opened, network.drawer, 10)
  return made.evaluator(Knn)[1]


def test_the_reading_is_the_one_that_was_chosen(networks):
  network = networks["vision"]
  every = {"layers": "all", "pool": ("mean", "cells:2")}
  chosen = {"step": 1, "knn/best_layer": 1.0, "knn/best_pool": 1.0}
  assert reading(network, chosen, **every) == Features(
    "teacher", (1,), "cells:2"
  )
  final = {**chosen, "knn/best_layer": 2.0}
  assert reading(network, final, **every) == Features(
    "teacher", None, "cells:2"
  )
  assert reading(network, {"step": 0}, **every) == Features(
    "teacher", None, "mean"
  )
  assert reading(network, chosen, model="student") == Features("student")


def test_without_an_evaluator_the_mean_is_read(networks):
  evaluator, features = networks["vision"].evaluator(LinearProbe)
  assert evaluator == LinearProbe()
  assert features == Features("teacher")


def test_no_weights(networks, tmp_path):
  network = networks["vision"]
  run = dataclasses.replace(network.run, workdir=tmp_path)
  made = network_lib.Network(run, network.opened, network.drawer, 10)
  with pytest.raises(ValueError, match=r"run\.json"):
    _ = made.model
