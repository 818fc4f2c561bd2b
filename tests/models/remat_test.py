"""What the policies keep, counted in what the backward pass takes."""

import jax
import numpy as np
import pytest

from d2v_jax.models.vision import vit

SIZE = {"image_size": 16, "patch_size": 4, "cls_token": False}
WIDTH, DEPTH, HEADS, BATCH, TOKENS = 32, 3, 2, 5, 16


@pytest.mark.parametrize(
  ("policy", "attention", "widths", "logits"),
  [
    # qkv, attention, out, fc1, fc2, and the layer's input
    ("dots", "auto", [3, 1, 1, 4, 1, 1], False),
    ("full", "auto", [1], False),
    ("none", "plain", None, True),
    ("none", "auto", None, False),
  ],
)
def test_what_is_kept_of_each_layer(policy, attention, widths, logits):
  network = vit(
    **SIZE,
    width=WIDTH,
    depth=DEPTH,
    num_heads=HEADS,
    remat=policy,
    attention=attention,
  )
  images = np.zeros((BATCH, 16, 16, 3), np.float32)
  params = jax.eval_shape(network.init, jax.random.key(0), {"inputs": images})

  def kept(params):
    _, backward = jax.vjp(
      lambda p: network(p, {"inputs": images}).tokens, params
    )
    return backward

  shapes = [x.shape for x in jax.tree.leaves(jax.eval_shape(kept, params))]
  # One array [L, B, N, ...] for each of what the layers keep.
  layers = (DEPTH, BATCH, TOKENS)
  found = sorted(s[3] // WIDTH for s in shapes if s[:3] == layers and s[3:])
  if widths is None:
    assert len(found) > 6, found
  else:
    assert found == sorted(widths)
  assert ((DEPTH, BATCH, HEADS, TOKENS, TOKENS) in shapes) == logits
