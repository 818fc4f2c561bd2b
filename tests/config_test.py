import dataclasses

import pytest

from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError


@dataclasses.dataclass(frozen=True)
class Part:
  size: int
  depth: int = 1

  def __post_init__(self):
    if self.size < 0:
      raise ValueError(f"size must be >= 0, got {self.size}")


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ({"name": "prat"}, r"c.x.name: unknown 'prat' \(did you mean 'part'\?\)"),
    ({}, "c.x.name: unknown None; choose one of: part"),
    ({"name": "part", "dept": 1}, r"c.x.dept: unknown field \(did you mean"),
    ({"name": "part"}, "c.x: missing field: size"),
    ({"name": "part", "size": -1}, "c.x: size must be >= 0, got -1"),
  ],
)
def test_build_errors(spec, message):
  with pytest.raises(ConfigError, match=message):
    config_lib.build(spec, {"part": Part}, "c.x")


def test_build():
  part = config_lib.build({"name": "part", "size": 2}, {"part": Part}, "c.x")
  assert part == Part(2)
  given = config_lib.build({"name": "part"}, {"part": Part}, "c.x", size=4)
  assert given == Part(4)


def test_what_is_given_cannot_be_set():
  with pytest.raises(ConfigError, match=r"c.x.size: unknown field"):
    config_lib.build({"name": "part", "size": 3}, {"part": Part}, "c.x", size=4)


def test_differences():
  old = {"a": 1, "b": {"c": 2, "d": 3}, "e": 4, "every": 7, "g": {"h": 8}}
  new = {"a": 1, "b": {"c": 5}, "e": 6, "every": 9, "f": None, "g": {"h": 0}}
  # 'every' begins with the ignored 'e', and is none of its parts.
  assert config_lib.differences(old, new, ("e", "g")) == [
    "b.c: 2 -> 5",
    "b.d: 3 -> '(absent)'",
    "every: 7 -> 9",
  ]
  old = {"a": [{"x": 1, "path": "p"}, {"x": 2}], "b": [1, 2]}
  new = {"a": [{"x": 1, "path": "q"}, {"x": 3}], "b": [1, 3]}
  found = config_lib.differences(old, new, ("a.*.path",))
  assert found == ["a.1.x: 2 -> 3", "b: [1, 2] -> [1, 3]"]


@dataclasses.dataclass(frozen=True)
class Kinds:
  whole: int = 0
  real: float = 0.0
  switch: bool = False
  many: tuple[float, ...] = ()


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("whole", True),
    ("whole", 2.0),
    ("real", True),
    ("switch", 1),
    ("many", (0.5, True)),
  ],
)
def test_a_value_of_another_kind(field, value):
  with pytest.raises(ConfigError, match=rf"c.{field}: got .*, but it must be"):
    config_lib.call(Kinds, {field: value}, "c")


def test_a_whole_number_is_a_float():
  kinds = config_lib.call(Kinds, {"real": 2, "many": [1, 0.5]}, "c")
  assert kinds == Kinds(real=2, many=(1, 0.5))
