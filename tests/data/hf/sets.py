"""Datasets that tests make; without the package they are skipped."""

import pytest

datasets = pytest.importorskip(
  "datasets", reason="needs the extra 'hf' (pip install 'd2v_jax[hf]')"
)


@pytest.fixture
def hf(tmp_path, monkeypatch):
  """The package, with a cache of its own and no network."""
  from huggingface_hub import constants

  monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
  monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
  datasets.disable_progress_bars()
  return datasets


def make(columns, features):
  """A dataset of columns of stored values: nothing is encoded."""
  import pyarrow as pa

  features = datasets.Features(features)
  table = pa.Table.from_pydict(columns, schema=features.arrow_schema)
  return datasets.Dataset(table)


def texts(*values):
  return make({"text": list(values)}, {"text": datasets.Value("string")})
