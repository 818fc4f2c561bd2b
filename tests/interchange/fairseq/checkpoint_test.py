"""Each released file, in small: it comes in, with its numbers."""

import jax
import numpy as np
import pytest

from d2v_jax.interchange import command
from tests.goldens import recipe
from tests.interchange.fairseq import released
from tests.interchange.fairseq.reading import QUIET, objective, read
from tests.interchange.torch_file import torch_files

FAIRSEQ = [name for name in released.FILES if name.endswith(".pt")]
WITH_NUMBERS = [name for name, (_, case) in released.FILES.items() if case]


def made(name):
  return released.FILES[name][0]()


def same(ours, theirs):
  """The same model, weights bit for bit."""
  for part in ("modality", "encoder", "objective", "data"):
    assert getattr(ours, part) == getattr(theirs, part)
  for trees in ("params", "teacher_params"):
    jax.tree.map(
      np.testing.assert_array_equal,
      getattr(ours, trees),
      getattr(theirs, trees),
    )


def in_halves(tree):
  return jax.tree.map(lambda x: x.astype(np.float16).astype(np.float32), tree)


@pytest.mark.parametrize("name", WITH_NUMBERS)
def test_its_loss(tmp_path, name):
  imported = read(tmp_path, made(name))
  case = released.FILES[name][1]
  ours = objective(imported, **QUIET.get(imported.modality, {}))
  *_, batch = recipe._MODELS[case]()
  loss = jax.jit(
    lambda params, teacher: ours.loss(params, teacher, batch, None).value
  )(imported.params, imported.teacher_params)
  wanted = recipe._recipes()[case]["loss_per_sample"]
  np.testing.assert_allclose(loss, wanted, rtol=1e-5)


@pytest.mark.parametrize("name", released.FILES)
def test_as_a_training_leaves_it(tmp_path, name):
  """With the optimizer's state and all options, and weights in halves."""
  plain = read(tmp_path, made(name))
  if not name.endswith(".pt"):
    same(read(tmp_path, released.vision_trained(made(name))), plain)
    return
  found = read(tmp_path, released.fairseq_trained(made(name)))
  for part in ("encoder", "objective", "data"):
    assert getattr(found, part) == getattr(plain, part)
  jax.tree.map(
    np.testing.assert_array_equal, found.params, in_halves(plain.params)
  )
  jax.tree.map(
    np.testing.assert_array_equal, found.teacher_params, plain.teacher_params
  )


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module.module."])
@pytest.mark.parametrize(
  "name",
  [
    "audio_base_ls.pt",
    "audio_base_ls_960h.pt",
    "nlp_base.pt",
    "base_800/checkpoint-799.pth",
    "base_imagenet.pt",
    "base_libri_960h.pt",
  ],
)
def test_names_of_a_model_that_was_spread_over_devices(tmp_path, name, prefix):
  plain = read(tmp_path, made(name))
  same(read(tmp_path, released.wrapped(made(name), prefix)), plain)


@pytest.mark.parametrize("name", FAIRSEQ)
def test_options_of_an_old_command_line(tmp_path, name):
  plain = read(tmp_path, made(name))
  same(read(tmp_path, released.command_line(made(name))), plain)


@pytest.mark.parametrize("name", released.FILES)
def test_inspect_says_that_it_comes_in(tmp_path, name, capsys):
  state = made(name)
  path = tmp_path / "checkpoint.pt"
  if name.endswith(".pt"):
    state = released.fairseq_trained(state)
  torch_files.save(path, state)
  assert command.main(["inspect", str(path)]) == 0
  out = capsys.readouterr().out
  assert out.endswith("\ncan be imported\n")
  if name.endswith(".pt"):
    assert "\nlast_optimizer_state: 2 arrays, 42 numbers (float32)\n" in out
