import dataclasses

import jax
import numpy as np
import pytest

from d2v_jax.models.encoder import EncoderOutput
from d2v_jax.models.layer_average import LayerOutputs
from d2v_jax.models.speech import speech
from d2v_jax.objectives.targets import Targets, shared_features
from tests.layer_average import averaged
from tests.reference import data2vec as reference

TARGETS = Targets(2, "ffn", ("instance",))


def output(padding=None):
  """Three layers of two examples with five tokens of width 7."""
  rng = np.random.default_rng(0)
  layers = rng.normal(2.0, 3.0, (3, 3, 2, 5, 7)).astype(np.float32)
  return EncoderOutput(layers[0, 0], *layers, padding=padding)


def targets_of(targets, output):
  layers = LayerOutputs(output.attention, output.ffn, output.block)
  average = averaged(targets.layers, layers, output.padding)
  return targets(output._replace(average=average))


@pytest.mark.parametrize("layer", ["block", "ffn", "attention"])
def test_the_average_by_hand(layer):
  targets = Targets(2, layer, ("instance",), ("layer",))
  norm = reference.NORMS
  top = np.float64(getattr(output(), layer)[1:])
  expected = norm["layer"](
    (norm["instance"](top[0]) + norm["instance"](top[1])) / 2
  )
  np.testing.assert_allclose(
    targets_of(targets, output()), expected, rtol=0, atol=1e-5
  )


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("norm_padding", [False, True])
def test_whether_padding_counts(norm, norm_padding):
  padding = np.zeros((2, 5), bool)
  padding[:, 3:] = True
  targets = Targets(1, "ffn", (norm,), norm_padding=norm_padding)
  last = np.float64(output().ffn[-1])
  expected = reference.NORMS[norm](last if norm_padding else last[:, :3])
  np.testing.assert_allclose(
    targets_of(targets, output(padding))[:, :3],
    expected[:, :3],
    rtol=0,
    atol=1e-5,
  )


def test_no_gradient():
  def total(layers):
    return targets_of(TARGETS, output()._replace(ffn=layers)).sum()

  assert not np.any(jax.grad(total)(output().ffn))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"top_k": 0}, "Targets: top_k must be 1 or more, got 0"),
    ({"output": "fc"}, "unknown output 'fc'; choose one of: block, ffn"),
    ({"layer_norms": ("group",)}, "unknown norm 'group' in layer_norms; choo"),
    ({"average_norms": ("x",)}, "unknown norm 'x' in average_norms"),
  ],
)
def test_errors(changes, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(TARGETS, **changes)


def test_more_layers_than_there_are():
  with pytest.raises(ValueError, match="between 1 and the 3 layers"):
    targets_of(dataclasses.replace(TARGETS, top_k=4), output())


def test_features_are_shared_where_the_teacher_has_none_of_its_own():
  encoder = speech(
    conv_layers=((8, 4, 2),), width=16, depth=1, num_heads=2, position_width=4
  )
  batch = {"inputs": np.ones((1, 40), np.float32)}
  params = encoder.init(jax.random.key(0), batch)
  shared = shared_features(encoder, params, {"blocks": {}}, batch)
  np.testing.assert_array_equal(shared, encoder.encode_features(params, batch))
  part = encoder.feature_parts[0]
  assert shared_features(encoder, params, {part: {}}, batch) is None
  none = dataclasses.replace(encoder, feature_parts=())
  assert shared_features(none, params, {}, batch) is None
