"""Files of data2vec 2.0: their weights, options and numbers."""

import argparse
import copy
import json

import jax
import numpy as np
import pytest

from d2v_jax import config as config_lib
from d2v_jax import main, pretrained
from d2v_jax.interchange import command
from d2v_jax.interchange.fairseq import reader as fairseq
from d2v_jax.interchange.model import build
from d2v_jax.interchange.weights import InterchangeError, flatten
from d2v_jax.modalities import MODALITIES
from d2v_jax.training import checkpoint
from tests import runs
from tests.goldens import recipe, v2
from tests.goldens.files import case as golden
from tests.interchange.fairseq import checkpoints2 as files
from tests.interchange.torch_file import torch_files

KINDS = ("image", "audio", "text")


def read(folder, state, **kwargs):
  path = folder / "checkpoint.pt"
  torch_files.save(path, state)
  return fairseq.read(path, **kwargs)


def objective(imported):
  return build(imported.modality, imported.encoder, imported.objective)[1]


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


def test_options_of_images(tmp_path):
  imported = read(tmp_path, files.pretrained("image"))
  assert imported.modality == "vision"
  assert imported.encoder == {
    "name": "visible_vit",
    "image_size": 224,
    "patch_size": 16,
    "width": 64,
    "prenet_depth": 1,
    "depth": 2,
    "num_heads": 4,
    "mlp_ratio": 4.0,
    "cls_token": True,
    "alibi": False,
    "norm_eps": 1e-6,
    "drop_path": 0.0,
    "attention_dropout": 0.0,
  }
  assert imported.objective == {
    "name": "data2vec2",
    "targets": {
      "output": "ffn",
      "top_k": 2,
      "layer_norms": ("instance",),
      "average_norms": ("layer",),
      "norm_padding": True,
    },
    "loss_beta": 0.0,
    "loss_scale": "rsqrt",
    "cls_loss": 0.06,
    "decoder": {
      "width": 64,
      "layers": 2,
      "kernel": 3,
      "groups": 16,
      "residual": True,
      "projection_layers": 1,
      "input_dropout": 0.0,
      "noise_std": 0.01,
      "initial": "torch",
    },
    "ema": {
      "start": 0.9998,
      "end": 0.99999,
      "anneal_steps": 100_000,
      "tracked": (
        "feature_encoder",
        "cls_token",
        "prenet_norm",
        "prenet",
        "blocks",
      ),
    },
  }
  assert imported.data["mask"] == {
    "name": "inverse_blocks",
    "num_masks": 2,
    "ratio": 0.8,
    "adjust": 0.07,
    "length": 3,
  }
  assert "a sum over 3 x 2 rows is 0.06 of their mean" in imported.notes[0]
  assert "licence" in imported.notes[-1]
  single = files.pretrained("image", modality={"mask_length": 1})
  assert read(tmp_path, single).data["mask"] == {
    "name": "random_patches",
    "num_masks": 2,
    "num_masked": 157,
  }


def test_options_of_speech(tmp_path):
  imported = read(tmp_path, files.pretrained("audio"))
  e, o = imported.encoder, imported.objective
  assert e["conv_layers"][:2] == ((512, 10, 5), (512, 3, 2))
  assert (e["dropout"], e["attention_dropout"], e["layer_drop"]) == (
    0.1,
    0.1,
    0.05,
  )
  assert e["alibi"] is True and e["isolate_padding"] is False
  assert (o["decoder"]["width"], o["decoder"]["kernel"]) == (32, 7)
  assert o["decoder"]["isolate_padding"] is False
  assert imported.data["mask"] == {
    "name": "frame_blocks",
    "num_masks": 2,
    "ratio": 0.5,
    "adjust": 0.05,
    "length": 5,
  }
  assert len(imported.notes) == 1  # the licence
  state = files.pretrained(
    "audio",
    modality={"prenet_dropout": 0.2},
    post_mlp_drop=0.0,
    activation_dropout=0.1,
    dropout_input=0.3,
  )
  notes = "\n".join(read(tmp_path, state).notes)
  assert "post_mlp_drop=0.0 is 0.1 here; it acts in training only" in notes
  assert "prenet_dropout=0.2 is 0.1 here" in notes
  assert "activation_dropout=0.1 acts once here" in notes
  assert "dropout_input=0.3 is left out" in notes


def test_options_of_text(tmp_path):
  imported = read(tmp_path, files.pretrained("text"))
  e, o = imported.encoder, imported.objective
  assert (e["vocab_size"], e["max_tokens"], e["prenet_depth"]) == (100, 512, 0)
  assert o["loss_scale"] == 1.0 and o["decoder"]["initial"] == "normal"
  assert o["decoder"]["projection_layers"] == 2
  assert not o["decoder"]["residual"] and o["cls_loss"] == 0
  assert imported.data == {
    "mask": {"name": "random_tokens", "num_masks": 2, "ratio": 0.48}
  }
  notes = "\n".join(imported.notes)
  assert "no tokenizer" in notes and "the teacher has no dropout here" in notes


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


def test_a_scale_of_older_files(tmp_path):
  state = files.pretrained("audio")
  new = read(tmp_path, state)
  for weights in (state["model"], state["model"]["_ema"]):
    name = "modality_encoders.AUDIO.alibi_scale"
    weights[name] = weights[name][0]
  old = read(tmp_path, state)
  for trees in ("params", "teacher_params"):
    found, wanted = (getattr(x, trees)["alibi_scale"] for x in (old, new))
    np.testing.assert_array_equal(found, wanted)


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


def test_positions_that_are_others(tmp_path):
  state = files.pretrained("image")
  name = "modality_encoders.IMAGE.fixed_positional_encoder.positions"
  fixed = state["model"][name]
  # The halves of row and column change places.
  state["model"][name] = np.roll(fixed, 32, axis=-1)
  with pytest.raises(InterchangeError, match="not the sines and cosines"):
    read(tmp_path, state)
  state["model"][name] = fixed[:, :100]
  with pytest.raises(InterchangeError, match=r"\[1, 100, 64\]; 14 x 14 patch"):
    read(tmp_path, state)
  del state["model"][name]
  assert read(tmp_path, state).encoder["name"] == "visible_vit"
  state["model"]["_ema"][name] = fixed + 0.1
  with pytest.raises(InterchangeError, match="not the sines and cosines"):
    read(tmp_path, state)


@pytest.mark.parametrize(
  ("kind", "changes", "message"),
  [
    ("image", dict(recon_loss=0.3), "model.recon_loss=0.3: this library has o"),
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
    ("image", {"d": dict(add_positions_masked=True)}, "add_positions_masked"),
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


def test_how_many_images_a_device_had(tmp_path):
  state = files.pretrained("image")
  del state["cfg"]["dataset"]
  with pytest.raises(InterchangeError, match="nothing says how many they wer"):
    read(tmp_path, state)
  alone = read(tmp_path, state, encoder_only=True)
  assert alone.objective == {} and "cls_token" in alone.params
  state["cfg"]["model"]["modalities"]["image"]["num_extra_tokens"] = 0
  state["cfg"]["dataset"] = {"batch_size": 3}
  with pytest.raises(InterchangeError, match="it has no extra token"):
    read(tmp_path, state)


def test_encoder_alone_where_the_rest_is_refused(tmp_path):
  state = files.pretrained("image", recon_loss=0.1)
  state["model"]["recon_proj.weight"] = np.zeros((64, 64), np.float32)
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


def same_encoder(fine_tuned, kind, folder):
  params = read(folder, files.pretrained(kind)).params
  ours = {k: v for k, v in fine_tuned.params.items() if k != "head"}
  del params["decoder"]
  jax.tree.map(np.testing.assert_array_equal, ours, params)


def test_ctc(tmp_path):
  state = files.ctc()
  imported = read(tmp_path, state)
  weight = state["model"]["w2v_encoder.proj.weight"]
  head = imported.params["head"]["fc1"]
  np.testing.assert_array_equal(head["kernel"][:, 0], weight[0])
  np.testing.assert_array_equal(head["kernel"][:, 1:], weight[4:].T)
  assert imported.objective == {"name": "ctc", "head": {"num_outputs": 29}}
  assert imported.data["labels"]["characters"][:3] == "|ET"
  assert imported.teacher_params == {}
  e = imported.encoder
  assert (e["dropout"], e["layer_drop"], e["feature_grad_scale"]) == (
    0.0,
    0.05,
    0.0,
  )
  assert e["activation_dropout"] == 0.1
  assert "acts once here" in "\n".join(imported.notes)
  same_encoder(imported, "audio", tmp_path)
  alone = read(tmp_path, state, encoder_only=True)
  assert alone.objective == {} and "head" not in alone.params
  state["model"]["classifier.bias"] = np.zeros(3, np.float32)
  with pytest.raises(
    InterchangeError, match=r"unexpected weights \(1\): class"
  ):
    read(tmp_path, state)


def test_image_classifier(tmp_path):
  state = files.image_classifier()
  imported = read(tmp_path, state)
  assert imported.objective == {
    "name": "classification",
    "head": {
      "num_outputs": 5,
      "pool": "mean",
      "norm": True,
      "initial": "normal",
    },
    "label_smoothing": 0.1,
  }
  assert imported.encoder["drop_path"] == 0.2
  same_encoder(imported, "image", tmp_path)
  x = np.random.default_rng(0).normal(size=(2, 196, 64)).astype(np.float32)
  ours = objective(imported).head(imported.params["head"], x, None)
  m = state["model"]
  mean = x.mean(1, dtype=np.float64)
  mean -= mean.mean(-1, keepdims=True)
  mean /= np.sqrt(mean.var(-1, keepdims=True) + 1e-6)
  theirs = (mean * m["fc_norm.weight"] + m["fc_norm.bias"]) @ m["head.weight"].T
  np.testing.assert_allclose(ours, theirs + m["head.bias"], atol=1e-5)
  for change in (
    dict(prediction_mode="CLS_TOKEN"),
    dict(prediction_mode="LIN_SOFTMAX"),
  ):
    with pytest.raises(InterchangeError, match="this library has only 'MEAN_P"):
      read(tmp_path, files.image_classifier(**change))
  plain = files.image_classifier(use_fc_norm=False, encoder_dropout=0.1)
  for name in ("fc_norm.weight", "fc_norm.bias"):
    del plain["model"][name]
  without = read(tmp_path, plain)
  assert set(without.params["head"]) == {"fc1"}
  assert "encoder_dropout=0.1 is 0.0 here" in without.notes[0]


def test_classification_of_texts(tmp_path):
  state = files.glue()
  imported = read(tmp_path, state)
  assert imported.objective["name"] == "classification"
  assert "head 'sentence_classification_head'" in imported.description
  same_encoder(imported, "text", tmp_path)
  x = np.random.default_rng(0).normal(size=(2, 3, 64)).astype(np.float32)
  ours = objective(imported).head(imported.params["head"], x, None)
  head = "classification_heads.sentence_classification_head."
  dense, out = (
    [state["model"][f"{head}{name}.{part}"] for part in ("weight", "bias")]
    for name in ("dense", "out_proj")
  )
  theirs = np.tanh(x[:, 0] @ dense[0].T + dense[1]) @ out[0].T + out[1]
  np.testing.assert_allclose(ours, theirs, atol=1e-5)
  alone = read(tmp_path, state, encoder_only=True)
  assert alone.objective == {} and "head" not in alone.params
  assert alone.description.endswith("of fairseq, fine-tuned")
  with pytest.raises(InterchangeError, match="this library has only 'tanh'"):
    read(tmp_path, files.glue(pooler_activation_fn="relu"))
  for name in [n for n in state["model"] if n.startswith("classification_")]:
    del state["model"][name]
  with pytest.raises(InterchangeError, match=r"it has 0 heads"):
    read(tmp_path, state)


def group(arrays, prefix):
  return {
    k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)
  }


def golden_state(meta, arrays):
  model = {**group(arrays, "param/"), **group(arrays, "buffer/")}
  config = copy.deepcopy(meta["resolved_config"]) | {"_name": "data2vec_multi"}
  return {
    "model": {**model, "_ema": group(arrays, "teacher/")},
    "cfg": {"model": config, "dataset": {"batch_size": meta["data"]["B"]}},
  }


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_the_reference(tmp_path, kind):
  meta, arrays = golden(f"v2_{kind}_a")
  imported = read(tmp_path, golden_state(meta, arrays))
  base = objective(imported)
  ours = v2._WithNoise(base)
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
  check_features(imported, kind, arrays)


def test_encoder_of_a_refused_reference(tmp_path):
  # A bias in two dimensions, and targets from blocks.
  meta, arrays = golden("v2_image_b")
  state = golden_state(meta, arrays)
  with pytest.raises(InterchangeError, match=r"recon_loss=0\.3"):
    read(tmp_path, state)
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
  encoders = MODALITIES[imported.modality].encoders
  network = config_lib.build(imported.encoder, encoders, "encoder")
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


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
  """A run that was imported, of images like the digits."""
  folder = tmp_path_factory.mktemp("digits")
  torch_files.save(folder / "base.pt", files.uneven("image"))
  source, dest = folder / "base.pt", folder / "run"
  assert command.main(["import", str(source), str(dest), "--no-check"]) == 0
  return dest


def test_the_run(digits, capsys):
  images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
  found = [
    pretrained.load(digits, model, num_devices=1).features(images)
    for model in ("teacher", "student")
  ]
  assert [x.shape for x in found] == [(3, 24)] * 2
  assert np.isfinite(found).all() and np.abs(found[0] - found[1]).max() > 0.1
  record = json.loads((digits / "run.json").read_text())
  assert record["config"]["objective"]["name"] == "data2vec2"
  assert record["config"]["data"]["mask"]["name"] == "inverse_blocks"
  assert record["origin"]["format"] == "fairseq"


def test_exported_and_back(digits, tmp_path):
  out, back = tmp_path / "out", tmp_path / "back"
  arguments = ["export", str(digits), str(out), "--format=safetensors"]
  assert command.main(arguments) == 0
  assert command.main(["import", str(out), str(back), "--no-check"]) == 0
  for item in ("params", "teacher_params"):
    given, found = load(digits, item), load(back, item)
    jax.tree.map(np.testing.assert_array_equal, found, given)
  alone = tmp_path / "alone"
  arguments = ["import", str(out), str(alone), "--no-check", "--encoder_only"]
  assert command.main(arguments) == 0
  assert given.keys() == load(alone, "params").keys()


SMALL = ("--config.num_devices=1", "--config.evaluation.evaluators={'knn': {}}")


def load(run, item):
  return checkpoint.load_item(run / "checkpoints", item)[1]


def test_trained_on(digits, tmp_path):
  workdir = tmp_path / "run"
  arguments = [
    "--config=configs/digits_d2v2.py",
    f"--workdir={workdir}",
    f"--config.init_from={digits}",
    *SMALL,
    "--config.evaluation.evaluators=None",
    "--config.total_steps=1",
    "--config.batch_size=4",
    "--config.data.channels=3",
    "--config.schedule.warmup_steps=1",
    "--config.encoder.width=24",
    "--config.encoder.mlp_ratio=2.5",
    "--config.objective.decoder.width=16",
    "--config.objective.decoder.groups=8",
    "--config.objective.decoder.layers=2",
  ]
  assert main.main(arguments) == 0
  (line,) = runs.metrics(workdir)
  decay = line["ema_decay"]
  for item in ("params", "teacher_params"):
    (given, student), (started, _) = (
      [flatten(load(run, name)) for name in (item, "params")]
      for run in (digits, workdir)
    )
    assert given.keys() == started.keys()
    for name, value in given.items():
      if item == "teacher_params":
        value = decay * value + (1 - decay) * student[name]
      # The first update of a warm-up has rate 0.
      np.testing.assert_allclose(
        started[name], value, rtol=0, atol=1e-6, err_msg=name
      )


def test_probed(digits, tmp_path, capsys):
  command = [
    "--config=configs/probe_digits.py",
    f"--workdir={tmp_path / 'probe'}",
    f"--config.init_from={digits}",
    "--config.data={'channels': 3}",
    *SMALL,
  ]
  assert main.main(command) == 0
  printed = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert 0 <= printed["knn/accuracy"] <= 1


def test_what_the_import_says(digits, tmp_path, capsys):
  torch_files.save(tmp_path / "base.pt", files.uneven("image"))
  arguments = ["import", str(tmp_path / "base.pt"), str(tmp_path / "run")]
  assert command.main(arguments) == 0
  out = capsys.readouterr().out
  assert "encoder: 1 + 2 layers of width 24" in out
  assert "objective: data2vec2" in out
  assert "data2vec_multi (data2vec 2.0) of fairseq, pretrained" in out
  assert "not compared with other activations" in out
