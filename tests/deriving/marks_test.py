"""Fields to be derived, filled by hand."""

import ml_collections
import pytest

from d2v_jax import config_file
from d2v_jax.config import ConfigError
from d2v_jax.deriving import marks


def config():
  return ml_collections.ConfigDict(
    {
      "minutes": 3.0,
      "batch_size": "derived",
      "encoder": {"name": "vit", "width": "derived", "mean": "derived"},
      "data": {"tokenizer": {"path": "derived"}, "num_threads": 2},
    }
  )


VALUES = {
  "batch_size": 8,
  "encoder.width": 96,
  "encoder.mean": (0.5,),
  "data.tokenizer.path": "a.json",
}


def test_what_is_open():
  assert set(marks.open_fields(config())) == VALUES.keys()
  assert marks.is_open(config())
  assert not marks.is_open(marks.filled(config(), VALUES))


def test_filled():
  assert marks.filled(config(), {**VALUES, "seed": 1}).to_dict() == {
    "batch_size": 8,
    "encoder": {"name": "vit", "width": 96, "mean": (0.5,)},
    "data": {"tokenizer": {"path": "a.json"}, "num_threads": 2},
  }


def test_what_has_no_rule():
  with pytest.raises(ConfigError, match=r"config\.encoder\.width: .*no rule"):
    marks.filled(config(), {k: v for k, v in VALUES.items() if "wi" not in k})


def test_some_values():
  made = marks.with_values(
    config(), {"encoder.width": 4, "data.num_threads": 9}
  )
  assert (made.encoder.width, made.data.num_threads) == (4, 2)
  assert made.minutes == 3 and made.batch_size == "derived"


def test_without_open():
  assert marks.without_open(config().to_dict()) == {
    "minutes": 3.0,
    "encoder": {"name": "vit"},
    "data": {"num_threads": 2},
  }


@pytest.mark.parametrize(
  ("path", "text", "value"),
  [
    ("encoder.width", "64", 64),
    ("encoder.mean", "(0.1, 0.2)", (0.1, 0.2)),
    ("encoder.mean", "None", None),
    ("data.tokenizer.path", "b.json", "b.json"),
  ],
)
def test_what_is_given_is_not_derived(path, text, value):
  changed = config()
  config_file.override(changed, path, text)
  chosen = marks.Chosen(changed)
  assert not chosen.is_open(path)
  assert chosen.get(path) == value
  assert chosen.take(path, value, "") == value
  assert chosen.values == {}


def test_rules_go_on_without_what_is_of_another_type():
  changed = config()
  config_file.override(changed, "encoder.width", "wide")
  chosen = marks.Chosen(changed)
  assert chosen.take("encoder.width", 96, "") == 96
  assert chosen.values == {} and chosen.get("encoder.width") == "wide"
  changed = config()
  config_file.override(changed, "encoder.width", "64")
  assert marks.Chosen(changed).take("encoder.width", 96, "") == 64


def test_what_is_chosen_is_told():
  chosen = marks.Chosen(config())
  assert chosen.take("encoder.width", 96, "few images") == 96
  assert chosen.get("encoder.width") == 96
  assert chosen.lines() == ["--config.encoder.width=96  # few images"]
