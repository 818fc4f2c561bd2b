"""Lists in fairseq's spelling, honest and hostile."""

import pytest

from d2v_jax.data.layout import CONV_LAYERS
from d2v_jax.interchange.fairseq import literals
from d2v_jax.interchange.weights import InterchangeError


@pytest.mark.parametrize(
  "text",
  [
    "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]",
    "[(512,10,5)]+[(512,3,2)]*4+[(512,2,2)]*2",
    " [(512, 10, 5), ] + 4 * [(512,3,2,)]\n+ [(512,2,2), (512,2,2)] ",
  ],
)
def test_the_same_layers(text):
  assert literals.conv_layers(text, "here") == CONV_LAYERS


@pytest.mark.parametrize(
  ("text", "reason"),
  [
    ("__import__('os').system('id')", "character 1 is not allowed"),
    ("[(512, 10, 5)] + exec('x')", "character 18 is not allowed"),
    ("[(512, 10, 5)].__class__", "character 15 is not allowed"),
    ("[(1, 1, 1)] * 1000000000", "more than 64 layers"),
    ("[(1, 1, 1)] * 999999999", "more than 64 layers"),
    ("[(1, 1, 1)] * 60 + [(1, 1, 1)] * 60", "more than 64 layers"),
    ("[(1, 1, 1)] * 9 * 9", "more than 64 layers"),
    ("[(9 ** 9, 1, 1)]", "'\\(9 \\*\\* 9, 1, 1\\)' is no tuple of num"),
    ("[(1, 1)]", "a layer is \\(channels, kernel, stride\\)"),
    ("[(1, 1, 1, 1)]", "a layer is"),
    ("[(-1, 1, 1)]", "character 3 is not allowed"),
    ("[(0, 1, 1)]", "a number is not in 1 to 65536"),
    ("[(99999, 1, 1)]", "a number is not in 1 to 65536"),
    ("[(1.5, 1, 1)]", "character 4 is not allowed"),
    ("[(\uff11, 1, 1)]", "character 3 is not allowed"),
    ("[]", "there is no layer"),
    ("[(1, 1, 1)] * 0", "there is no layer"),
    ("", "it is no expression"),
    ("[", "it is no expression"),
    ("[(1, 1, 1)", "it is no expression"),
    ("[(1, 1, 1) (1, 1, 1)]", "1, 1\\)' is no tuple of numbers"),
    ("[" * 1500, "it is no expression"),
    ("[" * 90 + "]" * 90, "is no tuple of numbers"),
    ("1*" * 999 + "1", "it is no expression"),
    ("[(1, 1, 1)] * [(1, 1, 1)]", "is no list of layers"),
    ("[(1, 1, 1)] + 3", "'3' is no list of layers"),
    ("[" * 5000, "longer than 2000 characters"),
    ("[(1,1,1)" + " " * 1900 + "x", "is not allowed"),
  ],
)
def test_anything_else(text, reason):
  with pytest.raises(InterchangeError, match=reason) as caught:
    literals.conv_layers(text, "cfg.model.layers")
  message = str(caught.value)
  assert message.startswith("cfg.model.layers: ")
  assert message.endswith("it is never evaluated.") and len(message) < 350


def test_what_is_no_string():
  with pytest.raises(InterchangeError, match="must be a string, got \\[1\\]"):
    literals.conv_layers([1], "here")


def test_integers():
  assert literals.integers("[6, 7,8]", "here") == (6, 7, 8)
  assert literals.integers("[]", "here") == ()
  for text in ("6", "[6", "[6] * 3", "[(6,)]", "range(9)", "[6, 7] [8]"):
    with pytest.raises(InterchangeError, match="it is never evaluated"):
      literals.integers(text, "here")
