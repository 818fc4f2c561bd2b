"""What is shown is what a run is trained on, to the bit."""

import contextlib

import numpy as np
import pytest

from d2v_jax import config as config_lib
from d2v_jax import config_file
from d2v_jax.report import seen
from d2v_jax.report.opened import opened
from d2v_jax.report.pictures.drawers import drawer
from d2v_jax.training import build
from tests import runs
from tests.report import workdirs

TINY = ("tiny", "tiny_speech", "tiny_spectrogram", "tiny_signal", "tiny_text")


@pytest.fixture(autouse=True)
def signals(tmp_path, monkeypatch):
  """What tiny_signal reads."""
  monkeypatch.chdir(tmp_path)
  rng = np.random.default_rng(0)
  np.savez("signals.npz", signal=rng.normal(size=(24, 200, 3)))


def config_of(name):
  return config_file.load(str(runs.ROOT / f"tests/configs/{name}.py"))


@pytest.mark.parametrize("name", TINY)
def test_rows_are_those_of_the_first_update(name):
  config = config_of(name)
  it = opened(config_lib.plain(config))
  rows, names = seen.first_rows(it, it.dataset.training(), count=3)
  with contextlib.closing(build.from_config(config).batches()) as batches:
    batch = next(batches)
    all_names = batches.names(batches.records)
  size = config.batch_size
  every = max(n for n in range(1, size + 1) if size % n == 0 and size // n >= 3)
  for i, (row, shown) in enumerate(zip(rows, names, strict=True)):
    assert shown == all_names[i * every]
    assert row.keys() == batch.keys()
    for key, value in row.items():
      np.testing.assert_array_equal(value, batch[key][i * every], key)


@pytest.mark.parametrize("name", TINY)
def test_hidden_shares_are_said(name):
  it = opened(config_lib.plain(config_of(name)))
  draws = drawer(it.dataset)
  rows, names = seen.first_rows(it, it.dataset.training())
  content = seen.content(it, draws)
  figures = [x for part in content for x in part.iter("figure")]
  assert [x.find("figcaption/span").text for x in figures] == names
  for figure, row in zip(figures, rows, strict=True):
    masks = np.atleast_2d(row["mask"])[:3]
    said = figure.find("p[@class='small']").text
    assert said == "hidden: " + ", ".join(
      f"{mask.sum()} of {draws.tokens(row)}" for mask in masks
    )
  sounds = [x for part in content for x in part.iter("audio")]
  assert len(sounds) == (len(figures) if name == "tiny_speech" else 0)


def test_nothing_is_hidden_without_a_mask():
  config = config_lib.plain(config_of("tiny"))
  config["data"] = {**config["data"], "mask": None}
  it = opened(config)
  text = workdirs.text_of(*seen.content(it, drawer(it.dataset)))
  assert "Nothing is hidden: config.data has no mask." in text
