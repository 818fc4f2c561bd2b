"""A run's own tokenizer."""

import pytest

from d2v_jax.config import ConfigError
from d2v_jax.data.text import tokenizer
from d2v_jax.deriving import vocabulary
from d2v_jax.deriving.marks import Chosen


class Texts:
  def documents(self):
    yield ["one two three", "four five"]
    yield ["six seven eight nine"]


def chosen(size=270, path="derived"):
  return Chosen(
    {"encoder": {"vocab_size": size}, "data": {"tokenizer": {"path": path}}}
  )


def test_it_is_that_of_the_text(tmp_path):
  lines = ["one two three", "four five", "six seven eight nine"]
  for _ in range(2):  # of a start before, too
    path = vocabulary.trained(chosen(), Texts(), tmp_path)
    assert path == str(tmp_path / vocabulary.FILE)
    made = tokenizer.load(path)
    assert made.vocab_size == 270
    assert made.fingerprint == tokenizer.train(lines, 270).fingerprint


def test_one_that_is_given_stays(tmp_path):
  assert vocabulary.trained(chosen(path="a.json"), None, tmp_path) is None
  assert not list(tmp_path.iterdir())


def test_what_cannot_be_done(tmp_path):
  with pytest.raises(ConfigError, match=r"vocab_size: .*gives only .* tokens"):
    vocabulary.trained(chosen(9_000), Texts(), tmp_path)
  with pytest.raises(ConfigError, match="cannot be trained on this source"):
    vocabulary.trained(chosen(), [], tmp_path)
  with pytest.raises(ConfigError, match="cannot be kept in gs://a/b"):
    vocabulary.trained(chosen(), Texts(), "gs://a/b")
