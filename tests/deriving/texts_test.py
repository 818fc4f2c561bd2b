"""Rules for text against what the shipped configs have, and by hand."""

import pytest

from d2v_jax import config_file
from d2v_jax.config import ConfigError
from d2v_jax.deriving import marks, texts

ENCODER = ["vocab_size", "max_tokens", "width", "depth", "num_heads"]


def chosen(characters, small=False, **given):
  config = config_file.load("own_text")
  for path, value in given.items():
    config_file.override(config, path.replace("__", "."), value)
  made = marks.Chosen(config)
  findings = texts.TextFindings(count=100, characters=characters)
  is_small = texts.choose(findings, made, small, 1)
  return made.values, is_small


@pytest.mark.parametrize(
  ("name", "characters"), [("text_files", 6_000_000), ("verses", 700_000)]
)
def test_the_network_of_a_shipped_config(name, characters):
  values, is_small = chosen(characters)
  theirs = config_file.load(name)
  assert is_small == (name == "verses")
  for field in ENCODER:
    assert values[f"encoder.{field}"] == theirs.encoder[field], field
  assert values["encoder.dropout"] == theirs.encoder.get("dropout", 0.0)
  assert values["data.buckets.lengths"] == theirs.data.buckets.lengths
  assert values["schedule.peak"] == theirs.schedule.peak
  assert values["batch_size"] == theirs.batch_size
  ema = theirs.objective.ema
  assert texts.averages(theirs.total_steps) == (ema.start, ema.end)


def test_too_little_text():
  with pytest.raises(ConfigError, match="about 49999 characters, too few"):
    chosen(49_999)
  values, _ = chosen(50_000)
  assert values["encoder.vocab_size"] == 1_000
  # 50,000 characters are 195 blocks of 64 tokens of four characters.
  assert values["batch_size"] == 16


def test_blocks_follow_a_length_that_is_given():
  values, _ = chosen(10_000_000, encoder__max_tokens="96")
  assert values["data.buckets.lengths"] == (96,)


def test_a_vocabulary_that_is_given():
  values, _ = chosen(40_000, encoder__vocab_size="300")
  assert "encoder.vocab_size" not in values


def test_the_smaller_network_where_it_is_asked_for():
  values, is_small = chosen(10_000_000, small=True)
  assert is_small and values["encoder.width"] == 128
  assert values["encoder.vocab_size"] == 8_000
