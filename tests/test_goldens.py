"""The numbers of the reference PyTorch code, case by case.

Where the cases lie is said in tests/goldens/README.md. They are described by
their own metadata: an option that is not built here skips the case and is
named.
"""

import pytest

from tests.goldens import (
  block_masks,
  files,
  losses,
  network,
  optimizers,
  positions,
  pure,
  recipe,
  schedules,
  span_masks,
  token_masks,
)

# Beginning of a file's case -> its functions.
FUNCTIONS = {
  "pure_block_masks": block_masks.GROUPS,
  "pure_losses_targets": losses.GROUPS,
  "pure_mask_indices": span_masks.GROUPS,
  "pure_optim": optimizers.GROUPS,
  "pure_positions": positions.GROUPS,
  "pure_schedules": schedules.GROUPS,
  "pure_text_masking": token_masks.GROUPS,
}
# Arrays that are inputs of several functions.
INPUTS = optimizers.INPUTS | token_masks.INPUTS


def _functions(path):
  case = files.load(path)[0]["case"]
  return next((g for k, g in FUNCTIONS.items() if case.startswith(k)), {})


def _networks(slow=()):
  for path in files.find():
    if not path.stem.startswith("pure_"):
      further = not (files.HERE / path.name).exists()
      later = further or any(word in path.stem for word in slow)
      marks = [pytest.mark.slow] if later else []
      yield pytest.param(path, id=path.stem, marks=marks)


def _settings():
  for path in files.find():
    if path.stem.startswith("pure_"):
      arrays = files.load(path)[1]
      for group, member in pure.members(arrays, _functions(path), INPUTS):
        name = f"{path.stem}-{group}" + f"-{member}" * bool(member)
        yield pytest.param(path, group, member, id=name)


NETWORKS = list(_networks())
# The others are compared in float64 first, and so in the slow tests.
FIRST = list(_networks(slow=("audio", "v2_", "text_v1_b")))
IN_FLOAT64 = list(_networks(slow=("v2_audio_a", "audio_v1_c")))
RECIPES = [
  pytest.param(name, marks=[pytest.mark.slow] if "audio" in name else [])
  for name in recipe.names()
]
SETTINGS = list(_settings())


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("path", FIRST)
def test_model_in_float32(path):
  network.check_float32(*files.load(path))


@pytest.mark.parametrize("path", IN_FLOAT64)
def test_model_in_float64(path, monkeypatch):
  network.check_float64(*files.load(path), monkeypatch)


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("path", NETWORKS)
def test_features(path):
  network.check_features(*files.load(path))


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize(("path", "group", "member"), SETTINGS)
def test_pure_function(path, group, member):
  meta, arrays = files.load(path)
  pure.check(meta, arrays, _functions(path), group, member)


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name):
  recipe.check(name)
