"""Class numbers in a network's order."""

import pickle

import numpy as np
import pytest

from d2v_jax.config import ConfigError
from d2v_jax.data.images.arrays import ImageArrays
from d2v_jax.data.renumbered import renumbered

WHERE = "config.evaluation.test"


def source(names):
  """Records of one class each, which have another attribute, too."""
  images = np.zeros((len(names), 4, 4, 3), np.uint8)
  return ImageArrays({"image": images, "label": list(names)}, "given")


def test_names_decide():
  made = renumbered(source("cab"), ("b", "x", "c", "a"), WHERE)
  assert made.class_names == ("b", "x", "c", "a") and len(made) == 3
  assert [made[i]["label"] for i in range(3)] == [2, 3, 0] == made.labels
  assert made.record_name(1) == source("cab").record_name(1)
  again = pickle.loads(pickle.dumps(made))
  assert again.labels == made.labels and again[0]["label"] == 2
  with pytest.raises(AttributeError):
    _ = made.nothing_of_the_kind


def test_what_comes_back_as_it_is():
  one = source("ab")
  assert renumbered(one, None, WHERE) is one
  assert renumbered(one, ("a", "b"), WHERE) is one


def test_numbers_are_those_of_the_network():
  made = renumbered(source((1, 0)), ("cat", "dog", "cow"), WHERE)
  assert made.labels == [1, 0] and made.class_names == ("cat", "dog", "cow")


def test_others_are_refused():
  with pytest.raises(
    ConfigError, match=r"test: its classes 'b' are none .* are 'a', 'c'; rename"
  ):
    renumbered(source("ab"), ("a", "c"), WHERE)


def test_sets_of_classes():
  images = np.zeros((2, 4, 4, 3), np.uint8)
  sets = ImageArrays({"image": images, "label": [["a", "b"], []]}, "given")
  made = renumbered(sets, ("b", "c", "a"), WHERE)
  assert made.labels == [(0, 2), ()] == [made[i]["label"] for i in range(2)]
