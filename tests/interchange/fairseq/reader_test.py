"""Released files, in small: their weights, options and numbers."""

import argparse

import jax
import numpy as np
import pytest

from d2v_jax.interchange.fairseq import reader as fairseq
from d2v_jax.interchange.weights import InterchangeError, flatten
from tests.goldens import recipe
from tests.goldens.files import case as golden
from tests.interchange.fairseq import checkpoints
from tests.interchange.fairseq.reading import QUIET, group, objective, read


def numbers(objective, imported, batch):
  """Targets and predictions at masked positions, and the loss."""

  @jax.jit
  def compute(params, teacher_params):
    y = objective.teacher_targets(params, teacher_params, batch)
    x = objective.predictions(params, batch, None)
    return y, x, objective.loss(params, teacher_params, batch, None).value

  y, x, loss = compute(imported.params, imported.teacher_params)
  return y[batch["mask"]], x[batch["mask"]], loss


@pytest.mark.parametrize(
  ("kind", "name", "tracked"),
  [
    ("audio", "v1_audio", {"norm", "blocks"}),
    ("text", "v1_text_full_teacher_input", {"blocks"}),
    ("vision", "v1_vision", None),
  ],
)
def test_loss_of_an_imported_model(tmp_path, kind, name, tracked):
  imported = read(tmp_path, getattr(checkpoints, kind)())
  params = imported.params
  assert set(imported.teacher_params) == (tracked or set(params))
  assert all(x.dtype == np.float32 for x in flatten(params).values())
  ours = objective(imported, **QUIET[imported.modality])
  _, _, batch = recipe._MODELS[name]()
  y, _, loss = numbers(ours, imported, batch)
  wanted = recipe._recipes()[name]
  np.testing.assert_allclose(loss, wanted["loss_per_sample"], rtol=1e-5)
  if "target_first" in wanted:
    np.testing.assert_allclose(y[0, :5], wanted["target_first"], atol=1e-4)


def test_missing_unexpected_and_misshapen(tmp_path):
  state = checkpoints.audio()
  model = state["model"]
  del model["encoder.layers.1.fc2.bias"]
  del model["mask_emb"]
  model["quantizer.vars"] = np.zeros((2, 3), np.float32)
  model["final_proj.weight"] = np.zeros((31, 32), np.float32)
  with pytest.raises(InterchangeError) as caught:
    read(tmp_path, state)
  message = str(caught.value)
  assert "checkpoint.pt does not fit the model that its config" in message
  assert "nothing was loaded" in message
  assert "unexpected (1):\n  quantizer.vars [2, 3]" in message
  assert "missing (1):\n  mask_token" in message
  assert "blocks/mlp/fc2/bias: only layers [0, 2] are there" in message
  assert "head/fc1/kernel: [32, 31], expected [32, 32]" in message


def test_weights_that_are_no_numbers_are_named(tmp_path):
  state = checkpoints.audio()
  model = state["model"]
  name = "encoder.layers.1.fc2.bias"
  bias = model[name].astype(np.float32)
  bias[3] = np.nan
  model[name] = bias
  # Too large for 32 bits.
  kernel = model["final_proj.weight"].astype(np.float64)
  kernel[0, :2] = 1e300
  model["final_proj.weight"] = kernel
  with pytest.raises(InterchangeError) as caught:
    read(tmp_path, state)
  message = str(caught.value)
  assert "weights that are not finite numbers of 32 bits; nothing" in message
  assert "not finite (2):" in message
  assert f"\n  {name}: 1 NaN and 0 infinite or too large, of 32" in message
  assert "\n  final_proj.weight: 0 NaN and 2 infinite or too large" in message


def test_average_that_lacks_something(tmp_path):
  state = checkpoints.audio()
  del state["model"]["_ema"]["layer_norm.bias"]
  with pytest.raises(
    InterchangeError, match=r"the teacher in .*\n.*\n  norm/bia"
  ):
    read(tmp_path, state)


@pytest.mark.parametrize(
  ("kind", "changes", "message"),
  [
    ("audio", dict(layer_type="conformer"), "layer_type='conformer': this lib"),
    ("audio", dict(activation_fn="relu"), "cfg.model.activation_fn='relu'"),
    ("audio", dict(group_norm_target_layer=True), "has only False"),
    ("audio", dict(extractor_mode="x"), "only default, layer_norm can be"),
    ("audio", dict(encoder_layers=10**9), "an integer of 1 to 1000"),
    ("audio", dict(encoder_layers="12"), "an integer of 1 to 1000"),
    ("audio", dict(pos_conv_depth=10**9), "an integer of 1 to 100"),
    ("audio", dict(average_top_k_layers=4), "averages 4 layers, and there are"),
    ("audio", dict(encoder_attention_heads=5), "not a multiple of num_heads 5"),
    ("audio", dict(ema_decay=7.0), "decays of the teacher"),
    ("audio", dict(dropout=float("nan")), "dropout=nan: it must be a number"),
    ("audio", dict(conv_bias="yes"), "it must be True or False"),
    ("audio", dict(_name="wav2vec2"), "describes a 'wav2vec2'; of such files"),
    (
      "audio",
      dict(conv_feature_layers="__import__('os').system('touch /tmp/x')"),
      "character 1 is not allowed; it is never evaluated",
    ),
    (
      "audio",
      dict(conv_feature_layers="[(512, 10, 65536)] * 20"),
      "checkpoint.pt: its first frame takes more than 268435456 samples",
    ),
    ("ctc", dict(blank_weight=2.0), "blank_weight=2.0"),
    ("ctc", dict(w2v_args=[1]), r"w2v_args=\[1\]: it must be a section"),
    ("text", dict(transformer=None), "has no section 'transformer'"),
    (
      "text",
      dict(transformer={"activation_fn": "relu"}),
      "activation_fn='relu",
    ),
    ("text", dict(head_layers=0), "an integer of 1 to 100"),
    ("vision", dict(var_w0=0.5), "var_w0=0.5: this library has no variance"),
    ("vision", dict(l1_beta=0.0), "has no L1 loss"),
    ("vision", dict(target_layers="[0, 2]"), "only the last ones of its 3"),
    ("vision", dict(target_layers="[1, 2] + 1"), "is no list of numbers"),
    ("vision", dict(layer_results="x"), "only end, fc can be imported"),
  ],
)
def test_options_that_are_refused(tmp_path, kind, changes, message):
  with pytest.raises(InterchangeError, match=message):
    read(tmp_path, getattr(checkpoints, kind)(**changes))


def test_other_files(tmp_path):
  def refused(state, message):
    with pytest.raises(InterchangeError, match=message):
      read(tmp_path, state)

  array = np.zeros((2, 2), np.float32)
  refused([1, 2], "not a checkpoint of fairseq or of the vision release")
  refused({"model": 3}, "it has no 'model' with weights")
  refused({"model": {"a.weight": array}}, "of no data2vec model; they begin wi")
  refused({"model": {}}, "they begin with: none")
  state = checkpoints.vision()
  del state["model"]["rel_pos_bias.relative_position_bias_table"]
  refused(state, "it has no positions")
  state = checkpoints.vision()
  state["model"]["pos_embed"] = np.zeros((1, 197, 48), np.float32)
  refused(state, "absolute and relative positions")
  state = checkpoints.image_classifier()
  del state["model"]["fc_norm.weight"]
  refused(state, "use_mean_pooling=False or linear_classifier=True")
  state = checkpoints.vision()
  table = "rel_pos_bias.relative_position_bias_table"
  state["model"][table] = np.zeros((733, 4), np.float32)
  refused(state, "733 entries is not that of a square")
  state["model"]["patch_embed.proj.weight"] = np.zeros((48, 3, 0, 0), "f4")
  refused(state, r"has shape \[48, 3, 0, 0\]")
  path = tmp_path / "text.pt"
  path.write_text("not a checkpoint")
  with pytest.raises(InterchangeError, match=r"text\.pt"):
    fairseq.read(path)


def golden_state(name, meta, arrays):
  model = {**group(arrays, "param/"), **group(arrays, "buffer/")}
  teacher, config = group(arrays, "teacher/"), meta["resolved_config"]
  if meta["kind"] == "vision_beit":
    args = {**config["train"], "layer_scale_init_value": 0.1}
    args["target_layers"] = str(args["target_layers"])
    args["no_target_layer_norm_last"] = not args["target_layer_norm_last"]
    args["imagenet_default_mean_and_std"] = True
    args = argparse.Namespace(**args)
    return {"model": model, "model_ema": teacher, "args": args}
  names = {
    "audio_v1": ("data2vec_audio", "_ema"),
    "text_v1": ("data2vec_text", "encoder._ema"),
    "vision_v1": ("data2vec_vision", "_ema"),
  }
  config["_name"], average = names[meta["kind"]]
  return {"model": {**model, average: teacher}, "cfg": {"model": config}}


@pytest.mark.parametrize(
  "name",
  [
    "audio_v1_a",
    "audio_v1_b",
    "audio_v1_c",
    "text_v1_a",
    "text_v1_b",
    "text_v1_d",
    "vision_beit_a",
    "vision_v1_a",
    "vision_v1_b",
    "vision_v1_e",
  ],
)
def test_numbers_of_the_reference(tmp_path, name):
  meta, arrays = golden(name)
  imported = read(tmp_path, golden_state(name, meta, arrays))
  ours = objective(imported)
  step = group(arrays, "step0/")
  mask = step["mask"].astype(bool)
  if imported.modality == "vision":
    inputs = step["input/img"].transpose(0, 2, 3, 1)
    batch = {"inputs": inputs, "mask": mask.reshape(len(mask), -1)}
  elif imported.modality == "speech":
    batch = {"inputs": step["input/source"], "mask": mask}
    if "feature_padding_mask" in step:
      batch["padding"] = step["feature_padding_mask"].astype(bool)
  else:
    batch = {
      "inputs": step["input/target_tokens"],
      "student_inputs": step["input/src_tokens"],
      "mask": mask,
    }
  y, x, loss = numbers(ours, imported, batch)
  np.testing.assert_allclose(y, step["y"], rtol=0, atol=1e-4)
  np.testing.assert_allclose(x, step["x"], rtol=0, atol=1e-4)
  np.testing.assert_allclose(loss, step["loss"], rtol=1e-5)
  decay = [ours.ema.decay(n) for n in (1, 2, 3)]
  np.testing.assert_allclose(decay, arrays["ema_decay"], rtol=1e-6)
