"""Examples are read as an evaluation reads them."""

import dataclasses

import numpy as np
import pytest

from d2v_jax.report import examples
from d2v_jax.training import build
from tests import random_runs


@pytest.mark.parametrize("modality", random_runs.CONFIGS)
def test_rows_are_those_of_the_evaluation(networks, modality):
  network = networks[modality]
  _, asked = examples.parts(network.opened, 10, 5)
  run = build.from_config(network.run.config)
  rows = [
    {k: x[i] for k, x in batch.items()}
    for batch in run.evaluation.batches("test")
    for i in np.flatnonzero(batch["valid"])
  ]
  for shown in asked.read(asked.indices):
    size = len(shown.row["inputs"])
    assert any(
      np.array_equal(shown.row["inputs"], row["inputs"][:size])
      and shown.label == row.get("label")
      for row in rows
    )
    assert (shown.samples is not None) == (
      modality in ("speech", "spectrogram")
    )


def test_parts_are_drawn_and_do_not_share_examples(networks):
  opened = networks["vision"].opened
  bank, asked = examples.parts(opened, 10, 5)
  assert len(set(bank.indices)) == 10 and len(set(asked.indices)) == 5
  assert bank.split == "config.evaluation.train"
  assert asked.split == "config.evaluation.test"
  assert len(bank.source) == 1297 and len(asked.source) == 500
  # Not the first ones: folders come class by class.
  assert bank.indices.max() > 100


def test_without_splits_both_are_of_the_training_data(networks):
  opened = networks["vision"].opened
  nothing = dataclasses.replace(opened.evaluation, splits={})
  alone = dataclasses.replace(opened, evaluation=nothing)
  bank, asked = examples.parts(alone, 10_000, 100)
  assert bank.split == asked.split == "config.data.source"
  assert len(bank.indices) == 1197 and len(asked.indices) == 100
  assert not set(bank.indices) & set(asked.indices)
