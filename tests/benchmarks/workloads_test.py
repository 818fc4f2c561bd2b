import pathlib

import numpy as np
import pytest

from benchmarks import workloads


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
  monkeypatch.chdir(pathlib.Path(__file__).parents[2])


def make(model, batch_size=2, regularised=False, **size):
  config = workloads.make_config(
    model, None, batch_size, "float32", regularised
  )
  size = {"seconds": 5.0, "tokens": 512} | size
  return config, workloads.make_batch(config, **size)


# By the released recipes; 5 s are 249 frames.
@pytest.mark.parametrize(
  ("model", "masks", "tokens", "visible"),
  [
    ("vit_base_d2v2", 16, 196, 39),
    ("vit_tiny_d2v2", 16, 196, 39),
    ("speech_base_d2v2", 8, 249, 125),
    ("speech_tiny_d2v2", 8, 249, 125),
    ("text_base_d2v2", 8, 512, 266),
    ("text_tiny_d2v2", 8, 512, 266),
  ],
)
def test_masks_of_version_2(model, masks, tokens, visible):
  config, batch = make(model)
  assert workloads.is_version_2(config)
  assert set(batch) == {"inputs", "mask", "keep_ids"}
  assert batch["mask"].shape == (2, masks, tokens)
  assert batch["keep_ids"].shape == (2, masks, visible)
  assert (batch["mask"].sum(-1) == tokens - visible).all()
  # What is kept is what is not hidden, and no two masks are the same.
  rows = batch["mask"].reshape(-1, tokens)
  kept = batch["keep_ids"].reshape(-1, visible)
  for row, ids in zip(rows, kept, strict=True):
    np.testing.assert_array_equal(ids, np.flatnonzero(~row))
  assert len(np.unique(rows, axis=0)) == 2 * masks
  assert workloads.count_masks(batch) == 2 * masks


# The recipes hide 120 patches, 49 % and 31 %.
@pytest.mark.parametrize(
  ("model", "shape", "tokens", "hidden"),
  [
    ("vit_tiny", (224, 224, 3), 196, 120),
    ("speech_tiny", (80_000,), 249, 123),
    ("text_tiny", (512,), 512, 157),
  ],
)
def test_masks_of_version_1(model, shape, tokens, hidden):
  config, batch = make(model)
  assert not workloads.is_version_2(config)
  assert set(batch) == {"inputs", "mask"}
  assert batch["inputs"].shape == (2, *shape)
  assert batch["mask"].shape == (2, tokens)
  assert (batch["mask"].sum(-1) == hidden).all()
  assert workloads.count_masks(batch) == 2


def test_one_mask_each():
  _, batch = make("text_tiny_d2v2", tokens=20)
  apart = workloads.one_mask_each(batch)
  assert apart["inputs"].shape == (16, 20)
  assert apart["mask"].shape == (16, 1, 20)
  assert apart["keep_ids"].shape == (16, 1, 10)
  assert workloads.count_masks(apart) == 16
  for i in range(16):
    np.testing.assert_array_equal(apart["inputs"][i], batch["inputs"][i // 8])
    for name in ("mask", "keep_ids"):
      np.testing.assert_array_equal(
        apart[name][i, 0], batch[name][i // 8, i % 8]
      )


@pytest.mark.parametrize("model", sorted(workloads.MODELS))
def test_the_other_version_is_of_the_same_size(model):
  def size(name):
    encoder = workloads.make_config(name, None, 1, "float32", False)["encoder"]
    layers = encoder["depth"] + encoder.get("prenet_depth", 0)
    shared = ("width", "num_heads", "conv_layers", "vocab_size", "patch_size")
    return layers, [encoder.get(key) for key in shared]

  assert size(workloads.version_1(model)) == size(model)


def test_dropout_is_left_out_unless_asked_for():
  def rates(regularised):
    config, _ = make("speech_tiny_d2v2", regularised=regularised)
    decoder = config["objective"]["decoder"]
    return (
      config["encoder"]["dropout"],
      config["encoder"]["attention_dropout"],
      config["encoder"]["layer_drop"],
      decoder["input_dropout"],
    )

  assert rates(False) == (0.0, 0.0, 0.0, 0.0)
  assert rates(True) == (0.1, 0.1, 0.0, 0.1)


def test_other_objectives_are_not_measured():
  path = "configs/finetune_images.py"
  with pytest.raises(
    ValueError, match=r"objective 'classification'.*data2vec2"
  ):
    workloads.make_config("vit_tiny", path, 1, "float32", False)
