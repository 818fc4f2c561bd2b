"""Config files, by name and by path, each with what its own project says."""

import pathlib
import sys
import types

import ml_collections
import pytest

import d2v_jax
from d2v_jax import config_file
from d2v_jax.config import ConfigError
from tests import runs

GIVES = "import ml_collections\nget_config = lambda: ml_collections.ConfigDict"
CHILD = """
from configs import base


def get_config(name="none"):
  c = base.get_config()
  c.name = name
  return c
"""


def write(folder: pathlib.Path, files: dict[str, str]) -> pathlib.Path:
  for name, text in files.items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
  return folder


def gives(**values):
  return f"{GIVES}({values!r})\n"


@pytest.fixture(autouse=True)
def modules_stay():
  """No load may add, drop or exchange a module that a project has."""
  before = dict(sys.modules)
  path, finders = list(sys.path), list(sys.meta_path)
  yield
  assert (sys.path, sys.meta_path) == (path, finders)
  changed = [n for n in before if sys.modules.get(n) is not before[n]]
  assert changed == []
  new = sys.modules.keys() - before.keys()
  known = ("site-packages", f"python3.{sys.version_info.minor}", "d2v_jax/")
  for name in new:
    file = getattr(sys.modules[name], "__file__", None) or "site-packages"
    assert any(part in file for part in known), f"{name} from {file}"


class TestOwnProject:
  def test_two_projects_with_a_folder_configs_each(self, tmp_path):
    for name in ("one", "two", "one"):
      files = {"configs/base.py": gives(a=name), "configs/child.py": CHILD}
      folder = write(tmp_path / name, files)
      assert config_file.load(f"{folder}/configs/child.py").a == name

  def test_a_parent_that_is_edited_between_two_loads(self, tmp_path):
    write(tmp_path, {"configs/child.py": CHILD})
    # Of one size, in one second: neither tells that the file is another.
    for value in (1, 2, 3):
      write(tmp_path, {"configs/base.py": gives(a=value)})
      assert config_file.load(f"{tmp_path}/configs/child.py").a == value
    assert not list(tmp_path.rglob("__pycache__"))

  def test_a_parent_that_was_not_there_before(self, tmp_path):
    child = write(tmp_path, {"configs/child.py": CHILD}) / "configs/child.py"
    with pytest.raises(ConfigError, match="cannot import name 'base'"):
      config_file.load(str(child))
    write(tmp_path, {"configs/base.py": gives(a=1)})
    assert config_file.load(str(child)).a == 1

  def test_nested_parents_in_packages_of_any_kind(self, tmp_path):
    inner = gives(a=7)
    middle = "from configs.deep import inner\nfrom mine.more import get_config"
    write(
      tmp_path,
      {
        "configs/base.py": middle,
        "configs/child.py": CHILD,
        "configs/deep/inner.py": inner,
        "mine/__init__.py": "",
        "mine/more.py": "from configs.deep.inner import get_config\n",
      },
    )
    assert config_file.load(f"{tmp_path}/configs/child.py").a == 7

  def test_a_project_that_has_been_imported_already(
    self, tmp_path, monkeypatch
  ):
    other, base = types.ModuleType("configs"), types.ModuleType("configs.base")
    other.base, other.__path__ = base, [str(tmp_path / "other")]
    monkeypatch.setitem(sys.modules, "configs", other)
    monkeypatch.setitem(sys.modules, "configs.base", base)
    write(tmp_path, {"configs/base.py": gives(a=2)})
    write(tmp_path, {"configs/child.py": CHILD})
    assert config_file.load(f"{tmp_path}/configs/child.py").a == 2
    assert sys.modules["configs"] is other
    assert sys.modules["configs.base"] is base

  def test_ours_may_be_the_parent(self, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "from configs import vit_large as base\nget_config = base.get_config"
    write(tmp_path, {"configs/mine.py": text, "mine.py": text})
    for path in ("configs/mine.py", "mine.py"):
      assert config_file.load(path).encoder.depth == 24

  def test_the_working_folder_is_part_of_it(self, tmp_path, monkeypatch):
    files = {"configs/base.py": gives(a=5), "trials/old/child.py": CHILD}
    monkeypatch.chdir(write(tmp_path, files))
    assert config_file.load("trials/old/child.py").a == 5

  def test_neither_the_library_nor_python_is_loaded_again(self, tmp_path):
    files = {
      "d2v_jax/__init__.py": "raise RuntimeError",
      "json.py": "raise RuntimeError",
      "ml_collections/readme.txt": "a clone",
      "configs/x.py": (
        "import json, ml_collections, d2v_jax, sys\n"
        "from d2v_jax.objectives import OBJECTIVES\n"
        "def get_config():\n"
        "  return ml_collections.ConfigDict({'version': d2v_jax.__version__,\n"
        "    'path': json.__file__ + ml_collections.__file__})\n"
      ),
    }
    folder = write(tmp_path, files)
    config = config_file.load(f"{folder}/configs/x.py")
    assert config.version == d2v_jax.__version__
    assert str(tmp_path) not in config.path

  def test_classes_of_the_file_know_their_names(self, tmp_path):
    text = (
      "from __future__ import annotations\n"
      "import dataclasses, ml_collections\n"
      "@dataclasses.dataclass\n"
      "class Part:\n"
      "  size: int = 3\n"
      "def get_config(size=Part().size):\n"
      "  return ml_collections.ConfigDict({'size': size})\n"
    )
    write(tmp_path, {"x.py": text})
    assert config_file.load(f"{tmp_path}/x.py").size == 3


class TestNames:
  @pytest.mark.parametrize("name", ["digits", "vit_small", "text_large_d2v2"])
  def test_one_of_ours(self, name, tmp_path, monkeypatch):
    by_path = config_file.load(f"{runs.ROOT}/configs/{name}.py")
    # A file of the same name lies there, and is not meant.
    files = {f"{name}.py": "", f"configs/{name}.py": ""}
    files |= {"configs/vit_base.py": "", "configs/text_base_d2v2.py": ""}
    monkeypatch.chdir(write(tmp_path, files))
    assert config_file.load(name).to_dict() == by_path.to_dict()

  def test_arguments(self, tmp_path):
    write(tmp_path, {"configs/base.py": gives(a=1), "configs/c.py": CHILD})
    assert config_file.load(f"{tmp_path}/configs/c.py").name == "none"
    assert (
      config_file.load(f"{tmp_path}/configs/c.py:top_k=6").name == "top_k=6"
    )
    large = config_file.load("finetune_imagenet:large")
    assert large.to_dict() != config_file.load("finetune_imagenet").to_dict()

  @pytest.mark.parametrize(
    ("name", "message"),
    [
      (
        "digit",
        r"there is no config 'digit' \(did you mean 'digits'\?\); give",
      ),
      ("digit:x", r"no config 'digit' \(did you mean"),
      ("smell", "a file that ends in .py, or one of: audio_folder, "),
      (
        "configs/digits",
        "no config 'configs/digits'.* a file that ends in .py",
      ),
      ("configs", "there is no config 'configs'"),
      (
        "configs/digit.py",
        "no config file configs/digit.py; in that folder .*",
      ),
    ],
  )
  def test_what_is_not_there(self, name, message, monkeypatch):
    monkeypatch.chdir(runs.ROOT)
    with pytest.raises(ConfigError, match=message):
      config_file.load(name)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("def get_config(:", "SyntaxError"),
    ("x = 1", r"it has no function get_config\(\)"),
    ("def get_config():\n  return 3", "must return an ml_collections.Config"),
    ("import missing_module_x", "No module named 'missing_module_x'"),
    ("import sys\nsys.exit(0)", r"bad.py failed: it calls sys.exit\(0\)"),
    (
      "import sys\ndef get_config():\n  sys.exit()",
      r"bad.py failed: it calls sys.exit\(None\)",
    ),
  ],
)
def test_files_that_give_no_config(tmp_path, text, message):
  (tmp_path / "bad.py").write_text(text)
  with pytest.raises(ConfigError, match=message):
    config_file.load(str(tmp_path / "bad.py"))


def test_a_path_of_nothing_lists_what_is_there(tmp_path):
  (tmp_path / "good.py").write_text("")
  with pytest.raises(
    ConfigError, match=r"no_such.py; in that folder are: .*good.py"
  ):
    config_file.load(str(tmp_path / "no_such.py"))


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
    # What is no section of literals is a name, and stays one.
    ("none", "dict(1)", "dict(1)"),
    ("none", "dict(a=b)", "dict(a=b)"),
    ("none", "dict(**a)", "dict(**a)"),
    ("none", "open(mode='w')", "open(mode='w')"),
  ],
)
def test_override(path, text, value):
  config = make()
  config_file.override(config, path, text)
  node = config
  for key in path.split("."):
    node = node[key]
  assert node == value
  assert type(node) is type(value)


@pytest.mark.parametrize("path", ["none", "missing", "encoder"])
def test_override_with_a_section(path):
  config = make()
  config_file.override(config, path, "dict(start=5, ends=(1, -2), name='a')")
  assert config[path].to_dict() == {"start": 5, "ends": (1, -2), "name": "a"}


@pytest.mark.parametrize(
  ("path", "text", "message"),
  [
    ("seed", "abc", r"config.seed: got 'abc', but it is int \(now 0\)"),
    ("seed", "1.5", "config.seed: got '1.5', but it is int"),
    ("flag", "1", "config.flag: got '1', but it is bool"),
    ("encoder", "3", "config.encoder: got '3', but it is a section"),
    ("encoder.width", "(1,)", "config.encoder.width: got"),
    ("seed.width", "3", "config.seed: it is 0, and has no 'width'"),
    ("init_from", "", "config.init_from: got nothing, as from a shell's"),
    ("name", " ", "config.name: got nothing"),
  ],
)
def test_override_errors(path, text, message):
  with pytest.raises(ConfigError, match=message):
    config_file.override(make(), path, text)
