import dataclasses

import jax
import numpy as np
import pytest

from d2v_jax.models.encoder import Encoder
from d2v_jax.models.vision import vit
from d2v_jax.objectives import OBJECTIVES
from d2v_jax.objectives.objective import Loss, Objective, split

SUPERVISED = {"ctc", "classification", "multi_label", "regression"}


@dataclasses.dataclass(frozen=True)
class Smallest(Objective):
  """As little as an objective may define."""

  encoder: Encoder

  def init(self, rng, batch):
    return self.encoder.init(rng, batch)

  def loss(self, params, teacher_params, batch, rng):
    loss = self.encode(params, batch).tokens.mean()
    return Loss(loss, jax.numpy.ones(()), {})


def test_what_holds_where_nothing_is_said():
  network = vit(image_size=8, patch_size=4, width=8, depth=1, num_heads=2)
  objective = Smallest(network)
  batch = {"inputs": np.ones((2, 8, 8, 3), np.float32)}
  params = objective.init(jax.random.key(0), batch)
  assert objective.init_teacher(params) == {}
  assert objective.update_teacher({}, params, 1) == ({}, {})
  assert (objective.fresh, objective.frozen) == ((), False)
  assert objective.predict is objective.scores is None
  np.testing.assert_array_equal(
    objective.encode(params, batch).tokens, network(params, batch).tokens
  )


@pytest.mark.parametrize("missing", ["init", "loss"])
def test_what_must_be_said(missing):
  kind = type("Kind", (Smallest,), {missing: getattr(Objective, missing)})
  with pytest.raises(TypeError, match=missing):
    kind(None)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_who_predicts_says_so(name):
  kind = OBJECTIVES[name]
  assert Objective in kind.__mro__
  predicts = kind.predict is not Objective.predict
  assert predicts == (name in SUPERVISED)
  assert (kind.scores is not Objective.scores) == (
    name in SUPERVISED - {"regression"}
  )
  assert kind.fresh == (("head",) if predicts else ())


def test_split():
  assert split(None) == (None, None)
  first, second = split(jax.random.key(3))
  expected = jax.random.split(jax.random.key(3))
  assert (first == expected[0]) and (second == expected[1])
