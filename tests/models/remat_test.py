"""What the policies keep, counted in what the backward pass takes."""

import jax
import numpy as np
import pytest

from d2v_jax.models.decoder import ConvDecoder
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
    # Mean and variance of two norms, where they are not computed again.
    assert shapes.count(layers) == (4 if policy == "dots" else 0)
  assert ((DEPTH, BATCH, HEADS, TOKENS, TOKENS) in shapes) == logits


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_what_is_kept_behind_convolutions(dtype):
  """In half precision what goes in and what comes out, and no more."""
  layers, tokens = 3, np.zeros((BATCH, TOKENS, WIDTH), np.float32)
  decoder = ConvDecoder(
    width=WIDTH, layers=layers, groups=2, compute_dtype=dtype
  )
  params = jax.eval_shape(decoder.init, jax.random.key(0), tokens)

  def kept(params):
    return jax.vjp(lambda p: decoder.decode(p, tokens), params)[1]

  arrays = jax.tree.leaves(jax.eval_shape(kept, params))
  large = [x.dtype.name for x in arrays if x.size == tokens.size]
  if dtype == "float32":
    assert len(large) > 2 * layers
  else:
    # And the input of the map at the end.
    assert large == ["bfloat16"] * (2 * layers + 1)
