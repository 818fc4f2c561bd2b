"""Files of ours beside those of Hugging Face, stale or damaged."""

import numpy as np
import pytest

from d2v_jax.interchange.huggingface import folder as huggingface
from d2v_jax.interchange.weights import InterchangeError
from tests.interchange import small_models
from tests.interchange.folders import edit, save, weights


def test_stale_files_of_ours_are_left_out(tmp_path):
  model = small_models.make("vision")
  folder = tmp_path / "folder"
  huggingface.write(folder, model)
  arrays = weights(folder)
  arrays["layernorm.bias"] = arrays["layernorm.bias"] + 1
  save(folder, arrays)
  back = huggingface.read(folder)
  assert "d2v_jax.json was left out" in back.notes[-1]
  assert back.objective == {} and "head" not in back.params
  expected = model.teacher_params["norm"]["bias"] + 1
  np.testing.assert_array_equal(back.params["norm"]["bias"], expected)


@pytest.mark.parametrize(
  "change, message",
  [
    ({"modality": "text"}, "modality is not what export writes"),
    ({"params": "all"}, "damaged: params is not"),
    ({"params": ["a/b"]}, "1 parameters that are nowhere, such as params/a/b"),
    ({"objective": {"name": "other"}}, "objective.name: unknown 'other'"),
    ({"encoder": {"width": 10**9}}, "refused a size of the encoder above"),
    ({"encoder": {"name": "vit", "colour": 1}}, "colour: unknown field"),
    ({"encoder": {"colour": 1}}, "damaged: .*KeyError"),
    ({"tracked": ["a"]}, "damaged: .*KeyError\\('a'\\)"),
  ],
)
def test_damaged_files_of_ours(tmp_path, change, message):
  huggingface.write(tmp_path / "folder", small_models.make("vision"))
  edit(tmp_path / "folder", "d2v_jax.json", **change)
  with pytest.raises(InterchangeError, match=message):
    huggingface.read(tmp_path / "folder")
