"""Exported folders, made once and copied for each test."""

import functools
import shutil

import pytest

from d2v_jax.interchange.huggingface import folder as huggingface
from tests.interchange import small_models

OURS = ("d2v_jax.json", "d2v_jax.safetensors")


@pytest.fixture(scope="session")
def originals(tmp_path_factory):
  """(modality, kind) -> folder with the files of Hugging Face alone.

  Nobody writes there: what is spoiled is a copy.
  """

  @functools.cache
  def make(modality, kind):
    folder = tmp_path_factory.mktemp("originals") / "folder"
    huggingface.write(folder, small_models.make(modality, kind))
    for name in OURS:
      (folder / name).unlink()
    return folder

  return make


@pytest.fixture
def exported(tmp_path, originals):
  """The same, to be spoiled."""

  def copy(modality, kind="pretrained"):
    return shutil.copytree(originals(modality, kind), tmp_path / "exported")

  return copy
