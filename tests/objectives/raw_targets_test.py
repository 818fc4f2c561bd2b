import re

import numpy as np
import pytest

from d2v_jax.models.heads import LinearHead
from d2v_jax.models.visible_text import visible_text
from d2v_jax.models.visible_vision import visible_vit
from d2v_jax.objectives.raw_targets import check_numbers, raw_targets

ENCODER = visible_vit(image_size=6, patch_size=2, width=8, depth=1, num_heads=2)


@pytest.mark.parametrize("norm", [False, True])
def test_each_patch_has_its_own_mean_and_variance(norm):
  images = np.random.default_rng(0).normal(3, 2, (2, 6, 6, 3))
  batch = {"inputs": images.astype(np.float32)}
  made = raw_targets("Loss", ENCODER, LinearHead(12), batch, norm=norm)
  for b in range(2):
    for n in range(9):
      row, column = 2 * (n // 3), 2 * (n % 3)
      patch = images[b, row : row + 2, column : column + 2].reshape(-1)
      if norm:
        mean = sum(patch) / 12
        variance = sum((x - mean) ** 2 for x in patch) / 11
        patch = (patch - mean) / (variance + 1e-6) ** 0.5
      np.testing.assert_allclose(made[b, n], patch, rtol=1e-5, atol=1e-5)


def test_errors():
  batch = {"inputs": np.zeros((1, 6, 6, 3), np.float32)}
  message = "Loss: the raw input of a token is 12 numbers, but the head has 3"
  with pytest.raises(ValueError, match=message):
    raw_targets("Loss", ENCODER, LinearHead(3), batch, norm=True)
  text = visible_text(vocab_size=9, max_tokens=4, width=8, num_heads=2, depth=1)
  message = "Loss: the inputs of this encoder are no numbers to regress; for te"
  with pytest.raises(ValueError, match=re.escape(message)):
    check_numbers("Loss", text)
