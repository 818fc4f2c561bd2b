import jax
import pytest

from d2v_jax.models.speech import speech
from d2v_jax.models.text import text
from d2v_jax.models.visible_speech import visible_speech
from d2v_jax.models.visible_text import visible_text
from d2v_jax.models.visible_vision import visible_vit
from d2v_jax.models.vision import vit

SMALL = {"width": 16, "depth": 2, "num_heads": 2}
IMAGES = {"image_size": 8, "patch_size": 4, **SMALL}
TEXTS = {"vocab_size": 30, "max_tokens": 8, **SMALL}
NETWORKS = [
  vit(**IMAGES),
  vit(**IMAGES, positions="absolute", final_norm=False),
  vit(**IMAGES, positions="relative_layers", pre_norm=False, cls_token=False),
  visible_vit(**IMAGES),
  visible_vit(**IMAGES, prenet_depth=1, cls_token=False, alibi=True),
  speech(**SMALL),
  speech(**SMALL, pre_norm=True, position_depth=1),
  visible_speech(**SMALL, prenet_depth=1),
  visible_speech(**SMALL, alibi=False),
  text(**TEXTS),
  text(**TEXTS, pre_norm=True, positions="sinusoidal", embedding_norm=False),
  visible_text(**TEXTS),
  visible_text(**TEXTS, prenet_depth=1, positions="sinusoidal", alibi=True),
]


@pytest.mark.parametrize("network", NETWORKS)
def test_sub_trees_are_those_of_the_parameters(network):
  batch = network.inputs.example()
  params = jax.eval_shape(network.init, jax.random.key(0), batch)
  parts = network.sub_trees
  names = [*parts.bottom, *parts.stacked, *parts.top]
  assert sorted(names) == sorted(params)
  assert parts.names == set(params)
  assert set(network.feature_parts) <= set(parts.bottom)
  for name in parts.stacked:
    depths = {x.shape[0] for x in jax.tree.leaves(params[name])}
    assert depths == ({1} if name == "prenet" else {2})


def test_an_encoder_without_features():
  with pytest.raises(ValueError, match="has no features below the mask"):
    vit(**IMAGES).encode_features({}, {})
