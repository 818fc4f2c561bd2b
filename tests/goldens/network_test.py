import copy
import math

import numpy as np
import pytest

from tests.goldens import files, network
from tests.goldens.made_up import skips

NETWORKS = [
  file
  for file in sorted(files.HERE.glob("*.npz"))
  if not file.stem.startswith("pure_")
]


def sections(config):
  """The dicts of options in a network's config, by path."""
  yield "", config
  for name, value in config.items():
    if name == "decoder" and "output_dim" in (value or {}):
      continue  # of text, where it is inert as a whole
    if isinstance(value, dict) and name != "modalities":
      for path, section in sections(value):
        yield f"{name}.{path}", section
    elif name == "modalities":
      for modality, part in value.items():
        for path, section in sections(part):
          yield f"modalities.{modality}.{path}", section


@pytest.mark.parametrize("path", NETWORKS, ids=lambda p: p.stem)
def test_an_unknown_option_of_a_network_is_named(path):
  meta, arrays = files.load(path)
  network.read(meta, arrays, "float32")
  for where, _ in sections(meta["resolved_config"]):
    changed = copy.deepcopy(dict(meta))
    dict(sections(changed["resolved_config"]))[where]["made_up"] = "a value"
    with skips(rf"{where}made_up='a value'".replace(".", r"\.")):
      network.read(changed, arrays, "float32")


def test_an_option_that_is_set_has_to_be_resolved():
  for name, where in (
    ("text_v1_b", "transformer.encoder"),
    ("v2_image_a", "modality_cfg.decoder"),
  ):
    meta, arrays = files.load(files.HERE / f"{name}.npz")
    meta = copy.deepcopy(meta)
    section, inner = where.split(".")
    meta["config"][section][inner]["made_up"] = 5
    with skips(rf"reads: \w+\.(image\.)?{inner}\.made_up=5"):
      network.read(meta, arrays, "float32")


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"kind": "v3"}, "kind v3: no adapter"),
    ({"quirks": ["it is blue"]}, "quirks of the reference: it is blue"),
    ({"config": {"depht": 3}}, "reads: depht=3"),
    (
      {"requires_grad_false": ["encoder.regression_head.0.bias"]},
      r"frozen there: \['encoder\.regression_head\.0\.bias'\]",
    ),
  ],
)
def test_what_else_skips_a_network(changes, message):
  meta, arrays = files.load(files.HERE / "text_v1_b.npz")
  with skips(message):
    network.read(meta | changes, arrays, "float32")


def test_unknown_inputs_and_optimizers_skip_a_network():
  meta, arrays = files.load(files.HERE / "text_v1_b.npz")
  with skips(r"inputs that nothing here takes: \['input/made_up'\]"):
    network.read(meta, arrays | {"step0/input/made_up": 0}, "float32")
  for option, value in (("weight_decay", 0.1), ("name", "SGD"), ("new", 1)):
    changed = meta | {"optimizer": meta["optimizer"] | {option: value}}
    with skips(f"optimizer.{option}="):
      network._optimizer(changed)


def test_a_wrong_number_of_a_network_fails():
  meta, arrays = files.load(files.HERE / "text_v1_b.npz")
  wrong = arrays["features/x"].copy()
  wrong[1, 2, 3] += 0.01
  with pytest.raises(AssertionError, match="Mismatched elements: 1 "):
    network.check_features(meta, arrays | {"features/x": wrong})


def test_fingerprints_stand_for_parameters():
  rng = np.random.default_rng(0)
  tree = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=5)}
  full = {f"grad/{name}": value for name, value in tree.items()}
  short = {f"param/{name}": value for name, value in tree.items()}
  short["grad_fingerprint"] = files.fingerprint(tree)
  # As in the reference: sum, norm, and the dot product with sin(1..n).
  b = tree["b"]
  by_hand = [
    b.sum(),
    math.sqrt((b**2).sum()),
    sum(math.sin(i + 1) * v for i, v in enumerate(b)),
  ]
  np.testing.assert_allclose(short["grad_fingerprint"][1], by_hand)
  order = np.arange(12)
  order[[2, 7]] = 7, 2
  swapped = tree | {"a": tree["a"].ravel()[order].reshape(3, 4)}
  shifted = tree | {"b": tree["b"] + [0, 1e-3, 0, 0, 0]}
  for arrays in (full, short):
    network._check_tree(arrays, "grad", tree, 1e-5, set())
    for wrong, name in ((swapped, "a"), (shifted, "b")):
      with pytest.raises(AssertionError, match=f"grad {name}"):
        network._check_tree(arrays, "grad", wrong, 1e-5, set())
  network._check_tree(full, "grad", shifted, 1e-5, {"b"})
