"""Folders of timm's: the network, the images, and what is refused."""

import json

import numpy as np
import pytest
import safetensors.numpy

from d2v_jax import commands
from d2v_jax import config as config_lib
from d2v_jax.interchange import timm_vit
from d2v_jax.interchange.weights import InterchangeError
from d2v_jax.modalities import MODALITIES
from tests.interchange.folders import edit

WIDTH, DEPTH, PATCH, SIDE = 48, 3, 8, 32
PREPARED = {
  "input_size": [3, SIDE, SIDE],
  "interpolation": "bicubic",
  "crop_pct": 0.9,
  "crop_mode": "center",
  "mean": [0.5, 0.4, 0.3],
  "std": [0.5, 0.6, 0.7],
  "classifier": "head",
}
CONFIG = {
  "architecture": "vit_tiny_patch8_32.tag",
  "num_classes": 10,
  "num_features": WIDTH,
  "global_pool": "token",
  "pretrained_cfg": PREPARED,
}
# A name there -> its name in transformers' ViTModel; `qkv` are three.
NAMES = {
  "norm1": "layernorm_before",
  "norm2": "layernorm_after",
  "attn.proj": "attention.output.dense",
  "mlp.fc1": "intermediate.dense",
  "mlp.fc2": "output.dense",
}


def shapes():
  one, hidden = (WIDTH,), 4 * WIDTH
  linear = {
    "attn.qkv": (3 * WIDTH, WIDTH),
    "attn.proj": (WIDTH, WIDTH),
    "mlp.fc1": (hidden, WIDTH),
    "mlp.fc2": (WIDTH, hidden),
    "norm1": one,
    "norm2": one,
  }
  blocks = {
    f"blocks.{i}.{k}": v for i in range(DEPTH) for k, v in linear.items()
  }
  weights = {
    **blocks,
    "norm": one,
    "head": (10, WIDTH),
    "patch_embed.proj": (WIDTH, 3, PATCH, PATCH),
  }
  tokens = 1 + (SIDE // PATCH) ** 2
  return {
    "cls_token": (1, 1, WIDTH),
    "pos_embed": (1, tokens, WIDTH),
    **{f"{k}.weight": v for k, v in weights.items()},
    **{f"{k}.bias": v[:1] for k, v in weights.items()},
  }


@pytest.fixture
def folder(tmp_path):
  rng = np.random.default_rng(0)
  arrays = {
    k: 0.2 * rng.normal(size=v).astype(np.float32) for k, v in shapes().items()
  }
  write(tmp_path / "timm", arrays)
  return tmp_path / "timm"


def write(folder, arrays):
  folder.mkdir(exist_ok=True)
  (folder / "config.json").write_text(json.dumps(CONFIG))
  safetensors.numpy.save_file(arrays, folder / "model.safetensors")


def weights(folder):
  return safetensors.numpy.load_file(folder / "model.safetensors")


def network(model):
  built = config_lib.build(
    model.encoder, MODALITIES["vision"].encoders, "encoder"
  )
  images = np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3))
  return images, built(model.params, {"inputs": images.astype(np.uint8)})


def theirs(arrays, prefix, name):
  """Parameters of transformers, of one map of timm's."""
  return {
    f"{prefix}.{end}": arrays[f"{name}.{end}"] for end in ("weight", "bias")
  }


def in_transformers(arrays):
  found = {
    "embeddings.cls_token": arrays["cls_token"],
    "embeddings.position_embeddings": arrays["pos_embed"],
    **theirs(
      arrays, "embeddings.patch_embeddings.projection", "patch_embed.proj"
    ),
    **theirs(arrays, "layernorm", "norm"),
  }
  for i in range(DEPTH):
    layer, block = f"encoder.layer.{i}", f"blocks.{i}"
    for name, other in NAMES.items():
      found |= theirs(arrays, f"{layer}.{other}", f"{block}.{name}")
    for end in ("weight", "bias"):
      parts = np.split(arrays[f"{block}.attn.qkv.{end}"], 3)
      for x, part in zip(("query", "key", "value"), parts, strict=True):
        found[f"{layer}.attention.attention.{x}.{end}"] = part
  return found


def test_hidden_states_are_those_of_transformers(folder, tmp_path):
  torch = pytest.importorskip("torch", reason="the extra `parity` has torch")
  transformers = pytest.importorskip(
    "transformers", reason="the extra `parity` has transformers"
  )
  sizes = transformers.ViTConfig(
    hidden_size=WIDTH,
    num_hidden_layers=DEPTH,
    num_attention_heads=3,
    intermediate_size=4 * WIDTH,
    image_size=SIDE,
    patch_size=PATCH,
    layer_norm_eps=1e-6,
  )
  sizes.architectures = ["ViTModel"]
  sizes.save_pretrained(tmp_path / "hf")
  safetensors.numpy.save_file(
    in_transformers(weights(folder)),
    tmp_path / "hf/model.safetensors",
    {"format": "pt"},
  )
  vit = transformers.ViTModel.from_pretrained(
    tmp_path / "hf", add_pooling_layer=False
  ).eval()
  images, ours = network(timm_vit.read(folder))
  pixels = (images / 255 - PREPARED["mean"]) / PREPARED["std"]
  with torch.no_grad():
    expected = vit(
      torch.tensor(pixels.transpose(0, 3, 1, 2), dtype=torch.float32),
      output_hidden_states=True,
    )
  for mine, other in zip(ours.block, expected.hidden_states[1:], strict=True):
    np.testing.assert_allclose(mine, other.numpy()[:, 1:], rtol=0, atol=1e-4)
  last = expected.last_hidden_state.numpy()[:, 1:]
  np.testing.assert_allclose(ours.tokens, last, rtol=0, atol=1e-4)


def test_layer_scales_come_along(folder):
  arrays = weights(folder)
  _, plain = network(timm_vit.read(folder))
  for i in range(DEPTH):
    block = f"blocks.{i}"
    for scale, name in (("ls1", "attn.proj"), ("ls2", "mlp.fc2")):
      gamma = np.full(WIDTH, 0.5, np.float32)
      arrays[f"{block}.{scale}.gamma"] = gamma
      for end in ("weight", "bias"):
        arrays[f"{block}.{name}.{end}"] *= 2
  write(folder, arrays)
  _, scaled = network(timm_vit.read(folder))
  np.testing.assert_allclose(scaled.tokens, plain.tokens, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
  ("fields", "data"),
  [
    ({}, {"resize_ratio": 35 / 32, "resampling": "bicubic"}),
    (
      {"crop_pct": 1.0, "interpolation": "bilinear"},
      {"resize_ratio": 1.0, "resampling": "bilinear"},
    ),
    (
      {"crop_mode": "squash"},
      {"resize_ratio": 35 / 32, "keep_aspect": False, "resampling": "bicubic"},
    ),
    (
      {"crop_mode": "squash", "crop_pct": 1.0},
      {"resize_ratio": None, "resampling": "bicubic"},
    ),
  ],
)
def test_images_are_prepared_as_there(folder, fields, data):
  edit(folder, pretrained_cfg=PREPARED | fields)
  model = timm_vit.read(folder)
  assert model.data == data
  assert model.encoder["mean"] == (0.5, 0.4, 0.3)
  assert model.encoder["std"] == (0.5, 0.6, 0.7)


def test_a_name_and_weights_are_enough(folder):
  content = {"architecture": "vit_tiny_patch8_32"}
  (folder / "config.json").write_text(json.dumps(content))
  model = timm_vit.read(folder)
  assert "there is no pretrained_cfg in config.json" in str(model.notes)
  assert (model.encoder["num_heads"], model.encoder["depth"]) == (3, DEPTH)
  assert model.encoder["image_size"] == SIDE


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"architecture": "resnet50"}, "architecture='resnet50': only plain ViTs"),
    (
      {"architecture": "vit_tiny_patch16_32"},
      r"patch_embed\.proj\.weight has the shape \[48, 3, 8, 8\]",
    ),
    ({"global_pool": "map"}, "global_pool='map': this library has only 'tok"),
    ({"model_args": {"qk_norm": True}}, "model_args.qk_norm=True: it is not"),
    ({"features_only": True}, "config.features_only=True: it is not known"),
    (
      {"pretrained_cfg": PREPARED | {"crop_mode": "border"}},
      "crop_mode='border': only center, squash",
    ),
    (
      {"pretrained_cfg": PREPARED | {"input_size": [3, 64, 64]}},
      r"by the weights it would be \[3, 32, 32\]",
    ),
    ({"pretrained_cfg": 3}, "pretrained_cfg=3: it must be a section"),
    ({"pretrained_cfg": {"input_size": 3}}, "input_size=3: by the weights"),
    ({"pretrained_cfg": {"crop_pct": "a"}}, "crop_pct='a': it must be a num"),
    ({"pretrained_cfg": {"mean": ["a"]}}, r"cfg\.mean=.*it must be 1 or 3"),
    ({"pretrained_cfg": {"std": [0, 1, 1]}}, r"cfg\.std=.*numbers above 0"),
    ({"architecture": 3}, "architecture=3: it must be a string"),
  ],
)
def test_fields_that_are_refused(folder, fields, message):
  edit(folder, **fields)
  with pytest.raises(InterchangeError, match=message):
    timm_vit.read(folder)


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("fc_norm.weight", "its last norm after the mean over tokens"),
    ("norm_pre.weight", "a norm before its first layer"),
    ("reg_token", "further tokens"),
    ("blocks.0.attn.q_norm.weight", "norms within its attention"),
    ("blocks.0.mlp.w12.weight", "gates in its MLPs"),
    ("something.weight", "something.weight"),
  ],
)
def test_other_networks_are_refused(folder, name, message):
  write(folder, weights(folder) | {name: np.ones(WIDTH, np.float32)})
  with pytest.raises(InterchangeError, match=message):
    timm_vit.read(folder)


@pytest.mark.parametrize(
  "name", ["pos_embed", "blocks.0.mlp.fc1.weight", "blocks.1.norm1.bias"]
)
def test_missing_weights_are_named(folder, name):
  arrays = weights(folder)
  del arrays[name]
  write(folder, arrays)
  with pytest.raises(InterchangeError, match=r"have no|missing"):
    timm_vit.read(folder)


@pytest.mark.parametrize(
  ("name", "shape", "message"),
  [
    ("pos_embed", (), r"pos_embed has the shape \[\]"),
    ("pos_embed", (1, 17, 0), r"pos_embed has the shape \[1, 17, 0\]"),
    ("pos_embed", (1, 16, 48), "of a CLS token and a square of patches"),
    ("blocks.0.mlp.fc1.weight", (), r"fc1\.weight has the shape \[\]"),
    ("blocks.999999999.norm1.weight", (48,), "more than 1000"),
    ("blocks.0.attn.qkv.bias", (), "qkv.bias"),
  ],
)
def test_hostile_shapes_are_refused(folder, name, shape, message):
  write(folder, weights(folder) | {name: np.ones(shape, np.float32)})
  with pytest.raises(InterchangeError, match=message):
    timm_vit.read(folder)


def test_by_the_command_line(folder, tmp_path, capsys):
  assert commands.main(["convert", "inspect", str(folder)]) == 0
  out = capsys.readouterr().out
  assert "a folder of timm's" in out and "can be imported" in out
  run = tmp_path / "run"
  command = ["convert", "import", str(folder), str(run), "--no-check"]
  assert commands.main(command) == 0
  assert (
    json.loads((run / "run.json").read_text())["config"]["encoder"][
      "patch_size"
    ]
    == PATCH
  )
