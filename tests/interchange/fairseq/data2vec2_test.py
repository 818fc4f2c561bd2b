"""Files of data2vec 2.0: their weights, options and numbers."""

import argparse
import copy

import jax
import numpy as np
import pytest

from d2v_jax.interchange.model import build
from d2v_jax.interchange.weights import InterchangeError, flatten
from tests.goldens import recipe, v2
from tests.goldens.files import case as golden
from tests.interchange.fairseq import checkpoints2 as files
from tests.interchange.fairseq.reading import group, objective, read

KINDS = ("image", "audio", "text")


def numbers(objective, imported, batch):
  """Targets and predictions at hidden positions, and the loss."""

  @jax.jit
  def compute(params, teacher_params):
    y = objective.teacher_targets(params, teacher_params, batch)
    x = objective.predictions(params, batch, None)
    return y, x, objective.loss(params, teacher_params, batch, None).value

  y, x, loss = compute(imported.params, imported.teacher_params)
  mask = batch["mask"].reshape(x.shape[:2])
  return np.repeat(y, len(x) // len(y), axis=0)[mask], x[mask], loss


@pytest.mark.parametrize(
  ("kind", "tracked"),
  [
    (
      "image",
      ("feature_encoder", "cls_token", "prenet_norm", "prenet", "blocks"),
    ),
    ("audio", ("positions", "alibi_scale", "prenet_norm", "blocks")),
    ("text", ("blocks",)),
  ],
)
def test_loss_of_an_imported_model(tmp_path, kind, tracked):
  imported = read(tmp_path, files.pretrained(kind))
  assert imported.objective["ema"]["tracked"] == tracked
  assert set(imported.teacher_params) == set(tracked)
  assert all(x.dtype == np.float32 for x in flatten(imported.params).values())
  y, x, loss = numbers(objective(imported), imported, files.batch(kind))
  wanted = recipe._recipes()[f"v2_{kind}"]
  np.testing.assert_allclose(loss, wanted["loss_per_sample"], rtol=1e-5)
  for found, name in ((y, "target_var"), (x, "pred_var")):
    std = np.sqrt(found.var(0, ddof=1) + 1e-6).mean()
    np.testing.assert_allclose(std, wanted[name], rtol=1e-5)


LAYOUTS = {
  1: lambda x: x,
  2: np.transpose,
  3: lambda x: np.einsum("oik->kio", x),
  4: lambda x: np.einsum("oihw->hwio", x),
}


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_layouts(tmp_path, kind):
  state = files.uneven(kind)
  imported = read(tmp_path, state)
  student, teacher = {}, {}
  for name, _, path, layer in files.uneven_names(kind):
    value = state["model"][name]
    if path.endswith(("embedding", "cls_token")):
      pieces = {path: value}
    elif path == "alibi_scale":
      pieces = {path: value[0, 0, :, 0, 0]}
    elif path == "feature_encoder/proj":
      # Row, column and channel of the pixel; then the output.
      pieces = {
        f"{path}/kernel": np.einsum("dcij->ijcd", value).reshape(12, -1)
      }
    elif path.endswith("qkv/bias"):
      names = [path.replace("qkv/bias", f"{x}_bias") for x in "qkv"]
      pieces = dict(zip(names, value.reshape(3, -1), strict=True))
    else:
      pieces = {path: LAYOUTS[value.ndim](value)}
    for found, piece in pieces.items():
      student.setdefault(found, []).append((layer, piece))
  averaged = imported.objective["ema"]["tracked"]
  for path, layers in student.items():
    stacked = layers[0][0] is not None
    value = np.stack([x for _, x in layers]) if stacked else layers[0][1]
    student[path] = value
    if path.split("/")[0] in averaged:
      teacher[path] = value + 1
  for wanted, tree in (
    (student, imported.params),
    (teacher, imported.teacher_params),
  ):
    found = flatten(tree)
    assert found.keys() == wanted.keys()
    for path, value in wanted.items():
      np.testing.assert_array_equal(found[path], value, err_msg=path)


def nested(value):
  """Sections as the namespaces that old files have."""
  if not isinstance(value, dict):
    return value
  return argparse.Namespace(**{k: nested(v) for k, v in value.items()})


def test_configuration_under_args(tmp_path):
  state = files.pretrained("image")
  new = read(tmp_path, state)
  config = state.pop("cfg")
  flat = {**config["model"], "arch": "data2vec_multi", **config["dataset"]}
  del flat["_name"]
  for args in (nested(config), argparse.Namespace(**flat)):
    old = read(tmp_path, {**state, "args": args})
    assert old.encoder == new.encoder and old.objective == new.objective
    assert old.data == new.data


def test_half_precision_is_widened(tmp_path):
  state = files.pretrained("image")
  average = state["model"].pop("_ema")
  half = {k: v.astype(np.float16) for k, v in state["model"].items()}
  imported = read(tmp_path, {**state, "model": {**half, "_ema": average}})
  leaf = imported.params["decoder"]["conv1"]["kernel"]
  assert leaf.dtype == np.float32
  name = "modality_encoders.IMAGE.decoder.blocks.1.0.weight"
  np.testing.assert_array_equal(leaf, LAYOUTS[4](half[name]))
  teacher = imported.teacher_params["blocks"]["mlp"]["fc1"]["kernel"]
  np.testing.assert_array_equal(
    teacher[1], average["blocks.1.mlp.fc1.weight"].T
  )


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_were_cut(tmp_path, kind):
  state = files.pretrained(kind)
  average = state["model"].pop("_ema")
  whole = read(tmp_path, state)
  assert whole.teacher_params == {} and whole.objective["name"] == "data2vec2"
  state["model"]["_ema"] = average
  model = state["model"]
  for name in [name for name in model if ".decoder." in name]:
    del model[name]
  with pytest.raises(InterchangeError, match=r"no decoder.*\(encoder_only\)"):
    read(tmp_path, state)
  alone = read(tmp_path, state, encoder_only=True)
  assert alone.objective == {} and "mask" not in alone.data
  del whole.params["decoder"]
  jax.tree.map(np.testing.assert_array_equal, alone.params, whole.params)
  assert alone.teacher_params
  # It is left out where it is there, too.
  left = read(tmp_path, files.pretrained(kind), encoder_only=True)
  jax.tree.map(np.testing.assert_array_equal, left.params, whole.params)


def test_missing_unexpected_and_misshapen(tmp_path):
  state = files.pretrained("image")
  model = state["model"]
  del model["blocks.0.mlp.fc2.bias"]
  del model["modality_encoders.IMAGE.extra_tokens"]
  model["recon_proj.weight"] = np.zeros((2, 3), np.float32)
  name = "modality_encoders.IMAGE.decoder.blocks.0.0.weight"
  model[name] = np.zeros((64, 4, 3), np.float32)
  model["blocks.0.attn.qkv.bias"] = np.zeros(191, np.float32)
  with pytest.raises(InterchangeError) as caught:
    read(tmp_path, state)
  message = str(caught.value)
  assert "nothing was loaded" in message
  assert "unexpected (1):\n  recon_proj.weight [2, 3]" in message
  assert "missing (1):\n  cls_token" in message
  assert "blocks/mlp/fc2/bias: only layers [1] are there" in message
  assert "decoder/conv0/kernel: [3, 4, 64], expected [3, 3, 4, 64]" in message
  assert "blocks/attention/v_bias: its layers differ in shape" in message


def test_averages_that_lack_or_have_something(tmp_path):
  state = files.pretrained("audio")
  average = state["model"]["_ema"]
  del average["modality_encoders.AUDIO.context_encoder.norm.bias"]
  average["modality_encoders.AUDIO.mystery"] = np.zeros(3, np.float32)
  with pytest.raises(InterchangeError) as caught:
    read(tmp_path, state)
  message = str(caught.value)
  assert "the teacher in " in message
  assert "missing (1):\n  prenet_norm/bias" in message
  assert "unexpected (1):\n  modality_encoders.AUDIO.mystery [3]" in message


@pytest.mark.parametrize(
  ("kind", "changes", "message"),
  [
    ("image", dict(recon_loss=0.3), "768 numbers, but the head has 64 outputs"),
    ("audio", dict(recon_loss=0.3), "model.recon_loss=0.3: this library has o"),
    ("image", dict(d2v_loss=0.5), "d2v_loss=0.5: this library has only 1"),
    ("image", dict(shared_decoder={"decoder_dim": 8}), "shared_decoder="),
    ("image", dict(layer_norm_first=True), "layer_norm_first=True: this lib"),
    ("image", dict(norm_affine=False), "norm_affine=False: this library has"),
    ("image", dict(embed_dim=768), "embed_dim=768: its weights have a width"),
    ("image", dict(average_top_k_layers=3), "averages 3 layers, and there ar"),
    ("image", dict(num_heads=5), "not a multiple of num_heads 5"),
    ("image", dict(ema_decay=7.0), "decays of the teacher"),
    ("image", dict(modalities=None), "image does not describe the modality"),
    ("image", dict(_name="mae"), "describes a 'mae'; of such files only"),
    ("image", {"m": dict(embed_dim=768)}, "no map from patches of it to the"),
    ("image", {"m": dict(patch_size=8)}, "have patches of 16 pixels"),
    ("image", {"m": dict(input_size=230)}, "not a multiple of patch_size 16"),
    ("image", {"m": dict(input_size=10**5)}, "an integer of 1 to 1536"),
    ("image", {"m": dict(fixed_positions=False)}, "has only True"),
    ("image", {"m": dict(num_extra_tokens=2)}, "has 0 or 1 for images"),
    ("image", {"m": dict(local_grad_mult=0.5)}, "local_grad_mult=0.5"),
    ("image", {"m": dict(transformer_decoder=True)}, "transformer_decoder=T"),
    ("image", {"m": dict(inverse_mask=False)}, "can only be left visible"),
    ("image", {"m": dict(mask_prob=1.5)}, "ratio must be"),
    ("image", {"m": dict(mask_prob_min=0.2)}, "hides the same share always"),
    ("image", {"m": dict(keep_masked_pct=0.1)}, "keep_masked_pct=0.1"),
    ("audio", {"d": dict(add_positions_masked=True)}, "add_positions_masked"),
    (
      "image",
      {"d": dict(add_positions_masked=True, add_positions_all=True)},
      "add_positions_masked=True: this library has only False",
    ),
    ("image", {"d": dict(decoder_groups=7)}, "is not a multiple of groups 7"),
    ("image", {"d": dict(decoder_layers=0)}, "an integer of 1 to 100"),
    ("audio", dict(norm_eps=1e-6), "1e-05 in all norms of speech and text"),
    ("audio", {"m": dict(conv_pos_pre_ln=True)}, "conv_pos_pre_ln=True"),
    ("audio", {"m": dict(inverse_mask=True)}, "inverse_mask=True"),
    ("audio", {"m": dict(encoder_zero_mask=False)}, "encoder_zero_mask=Fals"),
    ("audio", {"m": dict(learned_alibi=True)}, "learned_alibi=True"),
    ("audio", {"m": dict(learned_alibi_scale=False)}, "has only True"),
    ("audio", {"m": dict(num_alibi_heads=8)}, "this library has only 4"),
    (
      "audio",
      {"m": dict(feature_encoder_spec="__import__('os')")},
      "character 1 is not allowed; it is never evaluated",
    ),
    ("text", {"m": dict(ema_local_encoder=True)}, "text has only False"),
    ("text", {"m": dict(mask_length=3)}, "mask_length=3: this library has on"),
    ("text", {"m": dict(num_extra_tokens=1)}, "num_extra_tokens=1"),
    ("text", {"d": dict(projection_ratio=4.0)}, "projection_ratio=4.0"),
  ],
)
def test_options_that_are_refused(tmp_path, kind, changes, message):
  changes = dict(changes)
  parts = dict(modality=changes.pop("m", None), decoder=changes.pop("d", None))
  state = files.pretrained(kind, **parts, **changes)
  with pytest.raises(InterchangeError, match=message):
    read(tmp_path, state)


def test_encoder_alone_where_the_rest_is_refused(tmp_path):
  state = files.pretrained("image", shared_decoder={"decoder_dim": 8})
  state["model"]["shared_decoder.proj.weight"] = np.zeros((64, 8), np.float32)
  alone = read(tmp_path, state, encoder_only=True)
  assert "decoder" not in alone.params and alone.objective == {}
  assert set(alone.teacher_params) == {*alone.params}


def test_several_modalities_and_other_models(tmp_path):
  state = files.pretrained("image")
  state["model"] |= files.pretrained("text")["model"]
  with pytest.raises(
    InterchangeError, match=r"for IMAGE and TEXT; only models of one modality"
  ):
    read(tmp_path, state)
  state = files.pretrained("image")
  model = state["model"]
  state["model"] = {f"encoder.{k}": v for k, v in model.items() if k != "_ema"}
  with pytest.raises(
    InterchangeError, match=r"begin with 'encoder\.'; there can be nothing, or"
  ):
    read(tmp_path, state)
  state = files.image_classifier(_name="audio_classification")
  with pytest.raises(InterchangeError, match="those of mae_image_classificati"):
    read(tmp_path, state)
  state = {
    "model": {"x": np.zeros(2, np.float32)},
    "cfg": {"model": {"_name": "data2vec_multi"}},
  }
  with pytest.raises(InterchangeError, match="but of a 'data2vec_multi'"):
    read(tmp_path, state)


def golden_state(meta, arrays):
  model = {**group(arrays, "param/"), **group(arrays, "buffer/")}
  config = copy.deepcopy(meta["resolved_config"]) | {"_name": "data2vec_multi"}
  return {
    "model": {**model, "_ema": group(arrays, "teacher/")},
    "cfg": {"model": config, "dataset": {"batch_size": meta["data"]["B"]}},
  }


# The last one has a bias in two dimensions, targets from blocks, positions in
# the decoder and the raw input of hidden tokens to regress.
@pytest.mark.parametrize("case", ["image_a", "audio_a", "text_a", "image_b"])
def test_numbers_of_the_reference(tmp_path, case):
  kind = case.partition("_")[0]
  meta, arrays = golden(f"v2_{case}")
  imported = read(tmp_path, golden_state(meta, arrays))
  base = objective(imported)
  ours = v2.WithNoise(base)
  num_masks = meta["resolved_config"]["clone_batch"]
  assert imported.data["mask"]["num_masks"] == num_masks
  step = group(arrays, "step0/")
  batch = v2._batch(step, num_masks, kind, "float32")
  y, x, loss = numbers(ours, imported, batch)
  np.testing.assert_allclose(y, step["y"], rtol=0, atol=1e-4)
  np.testing.assert_allclose(x, step["x"], rtol=0, atol=1e-4)
  np.testing.assert_allclose(loss, step["loss"], rtol=1e-5)
  decay = [base.ema.decay(n) for n in (1, 2, 3)]
  np.testing.assert_allclose(decay, arrays["ema_decay"], rtol=1e-6)
  check_features(imported, kind, arrays, base.targets.output)


def test_encoder_of_a_reference(tmp_path):
  meta, arrays = golden("v2_image_b")
  state = golden_state(meta, arrays)
  imported = read(tmp_path, state, encoder_only=True)
  assert imported.encoder["alibi"] is True
  assert set(imported.teacher_params) == {
    "alibi_scale",
    "prenet_norm",
    "blocks",
  }
  check_features(imported, "image", arrays, "block")
  meta, arrays = golden("v2_text_b")
  with pytest.raises(InterchangeError, match="num_extra_tokens=1"):
    read(tmp_path, golden_state(meta, arrays))


def check_features(imported, kind, arrays, layers="ffn"):
  """Output and layers of the whole input."""
  inputs = arrays["step0/input/source"]
  if kind == "image":
    inputs = inputs.transpose(0, 2, 3, 1)
  network, _ = build(imported.modality, imported.encoder, {})
  output = jax.jit(network.__call__)(imported.params, {"inputs": inputs})
  x = output.tokens
  if output.cls is not None and kind == "image":
    x = np.concatenate([output.cls[:, None], x], axis=1)
  expected = group(arrays, "features/")
  np.testing.assert_allclose(x, expected["x"], rtol=0, atol=1e-4)
  extra = x.shape[1] - output.tokens.shape[1]
  for i, layer in enumerate(getattr(output, layers)):
    np.testing.assert_allclose(
      layer, expected[f"layer_result_{i}"][:, extra:], rtol=0, atol=1e-4
    )
