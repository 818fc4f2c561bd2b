import dataclasses

import ml_collections
import pytest

from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError


def make():
  return ml_collections.ConfigDict(
    {
      "seed": 0,
      "rate": 1.0,
      "name": "x",
      "flag": False,
      "shape": (1, 2),
      "none": None,
      "encoder": {"width": 8, "norms": ("a",)},
    }
  )


@pytest.mark.parametrize(
  ("path", "text", "value"),
  [
    ("seed", "3", 3),
    ("rate", "2", 2.0),
    ("rate", "1e-3", 1e-3),
    ("name", "3", "3"),
    ("name", "a/b", "a/b"),
    ("flag", "true", True),
    ("flag", "False", False),
    ("shape", "(3, 4)", (3, 4)),
    ("shape", "[3]", (3,)),
    ("none", "7", 7),
    ("none", "gs://b", "gs://b"),
    ("encoder.width", "16", 16),
    ("encoder.norms", "()", ()),
    ("encoder.drop_path", "0.1", 0.1),  # the file leaves it to its default
    ("encoder", "None", None),
  ],
)
def test_override(path, text, value):
  config = make()
  config_lib.override(config, path, text)
  node = config
  for key in path.split("."):
    node = node[key]
  assert node == value
  assert type(node) is type(value)


@pytest.mark.parametrize(
  ("path", "text", "message"),
  [
    ("seed", "abc", r"config.seed: got 'abc', but it is int \(now 0\)"),
    ("seed", "1.5", "config.seed: got '1.5', but it is int"),
    ("flag", "1", "config.flag: got '1', but it is bool"),
    ("encoder", "3", "config.encoder: got '3', but it is a section"),
    ("encoder.width", "(1,)", "config.encoder.width: got"),
    ("seed.width", "3", "config.seed: it is 0, and has no 'width'"),
  ],
)
def test_override_errors(path, text, message):
  with pytest.raises(ConfigError, match=message):
    config_lib.override(make(), path, text)


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
    ({"name": "part"}, "c.x: .*missing 1 required positional argument: 'size'"),
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
  old = {"a": 1, "b": {"c": 2, "d": 3}, "e": 4}
  new = {"a": 1, "b": {"c": 5}, "e": 6, "f": None}
  assert config_lib.differences(old, new, ("e",)) == [
    "b.c: 2 -> 5",
    "b.d: 3 -> '(absent)'",
  ]


def test_load(tmp_path):
  folder = tmp_path / "configs"
  folder.mkdir()
  (folder / "base_x.py").write_text(
    "import ml_collections\n"
    "def get_config():\n"
    "  return ml_collections.ConfigDict({'a': 1})\n"
  )
  assert config_lib.load(str(folder / "base_x.py")).a == 1


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("def get_config(:", "SyntaxError"),
    ("x = 1", r"it has no function get_config\(\)"),
    ("def get_config():\n  return 3", "must return an ml_collections.Config"),
    ("import missing_module_x", "No module named 'missing_module_x'"),
  ],
)
def test_load_errors(tmp_path, text, message):
  (tmp_path / "bad.py").write_text(text)
  with pytest.raises(ConfigError, match=message):
    config_lib.load(str(tmp_path / "bad.py"))


def test_load_of_nothing_lists_what_is_there(tmp_path):
  (tmp_path / "good.py").write_text("")
  with pytest.raises(
    ConfigError, match=r"no_such.py, ending.*; in that folder are: .*good.py"
  ):
    config_lib.load(str(tmp_path / "no_such.py"))
