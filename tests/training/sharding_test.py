import functools

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from d2v_jax.models.speech import speech
from d2v_jax.models.text import text
from d2v_jax.models.visible_speech import visible_speech
from d2v_jax.models.visible_text import visible_text
from d2v_jax.models.visible_vision import visible_vit
from d2v_jax.models.vision import vit
from d2v_jax.training import sharding

DEVICES = 8
# Deeper than wide, so that the axis of layers is the largest of some arrays.
WIDTH, DEPTH = 128, 256
IMAGES = {"image_size": 8, "patch_size": 4}
NETWORKS = {
  "vit": functools.partial(vit, **IMAGES, positions="relative_layers"),
  "visible_vit": functools.partial(visible_vit, **IMAGES, prenet_depth=DEPTH),
  "speech": speech,
  "visible_speech": functools.partial(visible_speech, prenet_depth=DEPTH),
  "text": functools.partial(text, vocab_size=30, max_tokens=8),
  "visible_text": functools.partial(
    visible_text, vocab_size=30, max_tokens=8, prenet_depth=DEPTH
  ),
}


def shapes(network):
  batch = network.inputs.example()
  return jax.eval_shape(network.init, jax.random.key(0), batch)


def depth_of(network):
  """Sub-tree -> sizes of the leading axes of its leaves."""
  return {
    name: {x.shape[0] for x in jax.tree.leaves(part)}
    for name, part in shapes(network).items()
  }


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_never_split(name):
  make = functools.partial(NETWORKS[name], width=WIDTH, num_heads=2)
  network = make(depth=DEPTH)
  # Stacked is what grows with the number of layers.
  more = {"depth": 2 * DEPTH}
  if name.startswith("visible"):
    more["prenet_depth"] = 2 * DEPTH
  deeper = depth_of(make(**more))
  stacked = {k for k, sizes in depth_of(network).items() if sizes != deeper[k]}
  assert stacked == {"blocks"} | {"prenet"} & deeper.keys()
  params = shapes(network)
  where = sharding.state_sharding(
    {"params": params, "opt_state": [{"mu": params}]},
    sharding.make_mesh(DEVICES, "fsdp"),
    network.sub_trees.stacked,
  )
  for tree in (where["params"], where["opt_state"][0]["mu"]):
    for part in stacked:
      specs = [s.spec for s in jax.tree.leaves(tree[part])]
      assert all(not spec or spec[0] is None for spec in specs), part
      # The four products of a layer.
      assert sum("fsdp" in spec for spec in specs) >= 4, part
  whole = sharding.state_sharding(
    params, sharding.make_mesh(DEVICES), network.sub_trees.stacked
  )
  assert not any(any(s.spec) for s in jax.tree.leaves(whole))


def test_the_largest_axis_that_divides_is_split():
  tree = {
    "blocks": np.zeros((16, 32, 1024)),
    "head": {"kernel": np.zeros((1020, 512)), "bias": np.zeros(512)},
  }
  mesh = sharding.make_mesh(DEVICES, "fsdp")
  where = sharding.state_sharding(tree, mesh, ("blocks",))
  assert where["blocks"].spec == P(None, None, "fsdp")
  assert where["head"]["kernel"].spec == P(None, "fsdp")
  assert not any(where["head"]["bias"].spec)


def test_errors():
  with pytest.raises(ValueError, match="asked for 9 devices, JAX sees 8"):
    sharding.make_mesh(9)
  with pytest.raises(ValueError, match="unknown sharding 'ddp'; choose one of"):
    sharding.make_mesh(1, "ddp")
