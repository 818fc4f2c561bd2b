import numpy as np
import pytest

from d2v_jax.data.text.look import look


def test_lengths_of_a_pair():
  numbers = look({"text": "In the beginning", "text_b": "God"}).numbers
  assert numbers == {"length, characters": 19, "length, words": 4}


def test_the_same_text_written_otherwise():
  one = look({"text": "caf\N{LATIN SMALL LETTER E WITH ACUTE} au  lait\n"})
  other = look({"text": "cafe\N{COMBINING ACUTE ACCENT} au lait"})
  assert one.digest == other.digest
  assert look({"text": "Cafe au lait"}).digest != one.digest
  # A pair is not the two as one.
  pair = {"text": "a", "text_b": "b"}
  assert look(pair).digest != look({"text": "a b"}).digest


@pytest.mark.parametrize(
  ("text", "oddity"),
  [
    ("word", ""),
    (" \n", "without any word"),
    ("na\N{REPLACEMENT CHARACTER}ve", "lost in another encoding"),
  ],
)
def test_odd_texts(text, oddity):
  found = look({"text": text}).oddity
  assert (oddity in found) if oddity else found == ""


def test_tokens():
  seen = look({"tokens": np.array([0, 5, 2], np.int32)})
  assert seen.numbers == {"tokens, length": 3}
