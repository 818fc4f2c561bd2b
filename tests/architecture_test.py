"""Imports run one way: from the data up to the command line, in no circle."""

import ast
import collections
import graphlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "d2v_jax"

# Room -> rooms of this package that it may import, itself apart. `config` may
# be imported by all.
MAY_IMPORT = {
  "data": set(),
  "decoding": {"data"},
  "models": {"data"},
  "objectives": {"data", "models"},
  "evaluators": {"data", "decoding", "models"},
  "modalities": {"data", "models"},
  "run_shares": set(),
  "training": {
    "data",
    "evaluators",
    "modalities",
    "models",
    "objectives",
    "run_shares",
  },
  "deriving": {"data", "run_shares", "training"},
  "planning": {
    "bad_input",
    "config_file",
    "deriving",
    "models",
    "objectives",
    "probe",
    "run_arguments",
    "training",
  },
  "report": {
    "bad_input",
    "data",
    "evaluators",
    "modalities",
    "models",
    "objectives",
    "pretrained",
    "training",
    "run_shares",
  },
  "pretrained": {
    "data",
    "evaluators",
    "modalities",
    "models",
    "training",
  },
}
# Room -> libraries that it does without.
WITHOUT = {
  "data": {"jax", "flax", "optax", "orbax"},
  "decoding": {"jax", "flax", "optax", "orbax"},
}


def module_name(file):
  parts = file.relative_to(ROOT).with_suffix("").parts
  return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(f): f for f in sorted(PACKAGE.rglob("*.py"))}


def imported(name):
  """Modules of this package, and libraries, that a module imports."""
  found = set()
  for node in ast.walk(ast.parse(MODULES[name].read_text())):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and node.module:
      inside = {f"{node.module}.{alias.name}" for alias in node.names}
      found |= inside & MODULES.keys() or {node.module}
  return found


def room(name):
  return name.split(".")[1] if "." in name else ""


def libraries(name):
  return {x.split(".")[0] for x in imported(name)} - {"d2v_jax"}


@pytest.mark.parametrize("name", MODULES)
def test_direction(name):
  if room(name) in MAY_IMPORT:
    rooms = {room(x) for x in imported(name) if x in MODULES}
    allowed = MAY_IMPORT[room(name)] | {room(name), "config", "storage", ""}
    assert rooms <= allowed
  assert not libraries(name) & WITHOUT.get(room(name), set())


def test_flax_is_in_models_alone():
  users = {room(name) for name in MODULES if "flax" in libraries(name)}
  assert users == {"models"}


def test_no_circle():
  # The front door is lazy: it imports what is asked for, when it is.
  modules = MODULES.keys() - {"d2v_jax"}
  graph = {name: imported(name) & modules - {name} for name in modules}
  list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


def test_files_are_short():
  lengths = sorted(len(f.read_text().splitlines()) for f in MODULES.values())
  assert lengths[-1] <= 400
  assert lengths[len(lengths) // 2] < 180


def test_a_class_name_stands_for_one_class():
  owners = collections.defaultdict(list)
  for name, file in MODULES.items():
    if file.name.startswith("modeling_"):
      continue  # each goes alone to where the others and we are not
    for node in ast.parse(file.read_text()).body:
      if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
        owners[node.name].append(name)
  assert {c: o for c, o in owners.items() if len(o) > 1} == {}


def test_tests_lie_as_the_package_does():
  tests = ROOT / "tests"
  folders = {f.parent.relative_to(PACKAGE) for f in MODULES.values()}
  for folder in folders:
    for test in (tests / folder).glob("*_test.py"):
      tested = PACKAGE / folder / test.name.replace("_test.py", ".py")
      assert tested.exists() or test.name in WHOLE, test


# Tests of something that no one file of the package is.
WHOLE = {
  "architecture_test.py",
  "bounds_test.py",
  "bucket_test.py",
  "cluster_scripts_test.py",
  "configs_test.py",
  "distributed_test.py",
  "docs_test.py",
  "from_files_test.py",
  "resume_test.py",
  "wheel_test.py",
}
