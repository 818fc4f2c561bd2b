"""Released files, in small: their weights, options and numbers."""

import argparse
import json
import os
import pathlib

import jax
import numpy as np
import pytest

from d2v_jax import config as config_lib
from d2v_jax.interchange.fairseq import reader as fairseq
from d2v_jax.interchange.weights import InterchangeError, flatten
from d2v_jax.modalities import MODALITIES
from d2v_jax.training import build
from tests.goldens import recipe
from tests.interchange.fairseq import checkpoints
from tests.interchange.torch_file import torch_files

ROOT = pathlib.Path(__file__).parents[3]
FOLDERS = os.environ.get("D2V_GOLDENS", str(ROOT.parent / "shared/goldens"))


def read(folder, state, **kwargs):
  path = folder / "checkpoint.pt"
  torch_files.save(path, state)
  return fairseq.read(path, **kwargs)


def network(imported, **changes):
  arguments = {**imported.encoder, **changes}
  encoders = MODALITIES[imported.modality].encoders
  return config_lib.build(arguments, encoders, "encoder")


def objective(imported, **changes):
  return build._objective(
    imported.objective, network(imported, **changes), "float32"
  )


def numbers(objective, imported, batch):
  """Targets and predictions at masked positions, and the loss."""

  @jax.jit
  def compute(params, teacher_params):
    y = objective.teacher_targets(params, teacher_params, batch)
    x = objective.predictions(params, batch, None)
    return y, x, objective.loss(params, teacher_params, batch, None).value

  y, x, loss = compute(imported.params, imported.teacher_params)
  return y[batch["mask"]], x[batch["mask"]], loss


QUIET = {
  "speech": dict(
    dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, layer_drop=0.0
  ),
  "text": dict(dropout=0.0, attention_dropout=0.0, activation_dropout=0.0),
  "vision": dict(drop_path=0.0, attention_dropout=0.0),
}


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


def test_options_of_speech(tmp_path):
  imported = read(tmp_path, checkpoints.audio())
  assert imported.encoder["conv_layers"] == (
    (512, 10, 5),
    *((512, 3, 2),) * 4,
    *((512, 2, 2),) * 2,
  )
  assert imported.encoder["conv_norm"] == "layer"
  assert imported.encoder["layer_drop"] == 0.05
  assert imported.objective["ema"] == {
    "start": 0.999,
    "end": 0.9999,
    "anneal_steps": 30_000,
    "tracked": ("norm", "blocks"),
  }
  released = read(tmp_path, checkpoints.audio(ema_layers_only=False))
  assert set(released.teacher_params) == {"positions", "norm", "blocks"}
  assert "licence" in imported.notes[-1]


def test_first_release_wraps_the_head(tmp_path):
  state = checkpoints.audio()
  for part in ("weight", "bias"):
    head = state["model"].pop(f"final_proj.{part}")
    state["model"][f"final_proj.0.{part}"] = head
  again = read(tmp_path, state)
  assert again.params["head"]["fc1"]["kernel"].shape == (32, 32)


def test_no_average_in_the_file(tmp_path):
  state = checkpoints.audio()
  del state["model"]["_ema"]
  assert read(tmp_path, state).teacher_params == {}


def test_half_precision_is_widened(tmp_path):
  state = checkpoints.audio()
  average = state["model"].pop("_ema")
  half = {k: v.astype(np.float16) for k, v in state["model"].items()}
  imported = read(tmp_path, {**state, "model": {**half, "_ema": average}})
  leaf = imported.params["blocks"]["mlp"]["fc1"]["kernel"]
  assert leaf.dtype == np.float32
  np.testing.assert_array_equal(
    leaf[1], half["encoder.layers.1.fc1.weight"].astype(np.float32).T
  )
  teacher = imported.teacher_params["blocks"]["mlp"]["fc1"]["kernel"]
  np.testing.assert_array_equal(teacher[1], average["layers.1.fc1.weight"].T)


def test_ctc(tmp_path):
  state = checkpoints.ctc()
  imported = read(tmp_path, state)
  weight = state["model"]["w2v_encoder.proj.weight"]
  head = imported.params["head"]["fc1"]
  np.testing.assert_array_equal(head["kernel"][:, 0], weight[0])
  np.testing.assert_array_equal(head["kernel"][:, 1:], weight[4:].T)
  assert imported.objective == {"name": "ctc", "head": {"num_outputs": 29}}
  assert imported.data["labels"]["characters"][:3] == "|ET"
  assert imported.encoder["feature_grad_scale"] == 0.0
  assert imported.encoder["activation_dropout"] == 0.1
  notes = "\n".join(imported.notes)
  assert "no dictionary was found" in notes and "final_dropout=0.2" in notes
  # The encoder is the pretrained model's.
  pretrained = read(tmp_path, checkpoints.audio()).params
  del imported.params["head"], pretrained["head"]
  jax.tree.map(np.testing.assert_array_equal, imported.params, pretrained)


def test_dictionaries_of_ctc(tmp_path):
  (tmp_path / "dict.ltr.txt").write_text("| 9\na 8\nb 7\nmadeupword0000 0\n")
  imported = read(tmp_path, checkpoints.ctc(8))
  assert imported.data["labels"]["characters"] == "|ab"
  assert imported.data["labels"]["case"] == "lower"
  assert imported.params["head"]["fc1"]["bias"].shape == (4,)
  # The file's own one comes first, and one that is asked for before it.
  state = checkpoints.ctc(7, symbols=["X", "|", "É"])
  imported = read(tmp_path, state)
  assert imported.data["labels"]["characters"] == "X|É"
  given = tmp_path / "other.txt"
  given.write_text("Q 1\n| 1\nR 1\n")
  imported = read(tmp_path, state, dictionary=given)
  assert imported.data["labels"]["characters"] == "Q|R"
  for outputs, message in (
    (9, "head has 9 outputs, but the dictionary has 3 symbols beside 4"),
    (40, "head has 40 outputs, but the dictionary"),
  ):
    with pytest.raises(InterchangeError, match=message):
      read(tmp_path, checkpoints.ctc(outputs), dictionary=given)
  for content, message in (
    (
      "| 1\nTH 1\nX 1\n",
      r"only characters can be imported.* 'TH'; the encoder",
    ),
    ("A 1\nB 1\nX 1\n", "'|' among them"),
    ("what is this\n", "other.txt:1: 'what is this' must be a symbol and its"),
  ):
    given.write_text(content)
    with pytest.raises(InterchangeError, match=message.replace("|", r"\|")):
      read(tmp_path, state, dictionary=given)
  with pytest.raises(InterchangeError, match=r"none\.txt does not exist"):
    read(tmp_path, state, dictionary=tmp_path / "none.txt")


def test_unknown_characters(tmp_path):
  with pytest.raises(InterchangeError, match="31 outputs, and nothing says"):
    read(tmp_path, checkpoints.ctc(31))


def test_old_command_lines(tmp_path):
  state = checkpoints.ctc()
  model = state.pop("cfg")["model"]
  inner = argparse.Namespace(
    arch="data2vec_audio", **model["w2v_args"]["model"]
  )
  outer = {**model, "arch": "wav2vec_ctc", "task": "audio_finetuning"}
  state["args"] = argparse.Namespace(**{**outer, "w2v_args": inner})
  old = read(tmp_path, state)
  new = read(tmp_path, checkpoints.ctc())
  assert old.encoder == new.encoder and old.objective == new.objective


def test_classification_of_texts(tmp_path):
  state = checkpoints.glue()
  imported = read(tmp_path, state)
  assert imported.objective["name"] == "classification"
  assert imported.teacher_params == {}
  head = "classification_heads.sentence_classification_head."
  x = np.random.default_rng(0).normal(size=(2, 3, 64)).astype(np.float32)
  ours = objective(imported).head(imported.params["head"], x, None)
  dense, out = (
    [state["model"][f"{head}{name}.{part}"] for part in ("weight", "bias")]
    for name in ("dense", "out_proj")
  )
  theirs = np.tanh(x[:, 0] @ dense[0].T + dense[1]) @ out[0].T + out[1]
  np.testing.assert_allclose(ours, theirs, atol=1e-5)
  score = read(tmp_path, checkpoints.glue(1, regression=True))
  assert score.objective["name"] == "regression"
  alone = read(tmp_path, state, encoder_only=True)
  assert alone.objective == {} and "head" not in alone.params


def test_older_names_of_text(tmp_path):
  state = checkpoints.text()
  model = {
    name.replace("encoder.", "decoder.", 1)
    .replace(".layernorm_embedding.", ".emb_layer_norm.")
    .replace(".regression_head.", ".lm_head."): value
    for name, value in state["model"].items()
  }
  average = {
    k.replace("layernorm_embedding.", "emb_layer_norm."): v
    for k, v in model.pop("decoder._ema").items()
  }
  old = read(tmp_path, {**state, "model": {**model, "decoder._ema": average}})
  new = read(tmp_path, checkpoints.text())
  jax.tree.map(np.testing.assert_array_equal, old.params, new.params)
  assert set(old.teacher_params) == {"blocks"}


def tokenizer(folder):
  """GPT-2's files in small: 4 + 93 tokens and <mask>, most frequent first."""
  vocab = {chr(33 + i): i for i in range(93)}
  (folder / "encoder.json").write_text(json.dumps(vocab))
  (folder / "vocab.bpe").write_text("#version: 0.2\n")
  lines = [f"{i} {100 - i}" for i in reversed(range(93))]
  lines += ["madeupword0000 0", "madeupword0001 0"]
  (folder / "dict.txt").write_text("\n".join(lines) + "\n")


def test_tokenizer_of_text(tmp_path):
  without = read(tmp_path, checkpoints.text())
  assert without.data == {} and "no tokenizer" in without.notes[0]
  tokenizer(tmp_path)
  imported = read(tmp_path, checkpoints.text())
  assert imported.data == {"tokenizer": {"path": "tokenizer"}}
  assert sorted(imported.files) == [
    "tokenizer/dict.txt",
    "tokenizer/encoder.json",
    "tokenizer/vocab.bpe",
  ]
  lines = (tmp_path / "dict.txt").read_text().splitlines()
  (tmp_path / "dict.txt").write_text("\n".join(lines[:-1]))
  with pytest.raises(InterchangeError, match="has 99 tokens, and the model 10"):
    read(tmp_path, checkpoints.text())
  (tmp_path / "vocab.bpe").unlink()
  with pytest.raises(
    InterchangeError, match=r"dictionary is a folder with dict\.txt"
  ):
    given = tmp_path / "dict.txt"
    read(tmp_path, checkpoints.text(), dictionary=given)


def test_options_of_vision(tmp_path):
  imported = read(tmp_path, checkpoints.vision())
  e = imported.encoder
  assert (e["image_size"], e["patch_size"], e["num_heads"]) == (224, 16, 4)
  assert e["positions"] == "relative" and "mean" not in e
  assert imported.objective["ema"]["tracked"] == ()
  assert imported.objective["ema"]["start"] == 0.9998
  assert "CC-BY-NC" in imported.notes[-1]
  plain = read(
    tmp_path, checkpoints.vision(imagenet_default_mean_and_std=False)
  )
  assert plain.encoder["mean"] == plain.encoder["std"] == (0.5, 0.5, 0.5)
  # The weights alone tell the sizes.
  alone = {"module": checkpoints.vision()["model"]}
  sizes = read(tmp_path, alone, encoder_only=True)
  assert sizes.encoder.items() <= {**e, "drop_path": 0.0}.items() | {
    ("attention_dropout", 0.0)
  }
  assert "head" not in sizes.params and sizes.objective == {}


def test_image_classifier(tmp_path):
  state = checkpoints.image_classifier()
  imported = read(tmp_path, state)
  assert imported.encoder["positions"] == "relative_layers"
  assert imported.encoder["final_norm"] is False
  assert imported.objective["label_smoothing"] == 0.1
  params = imported.params
  table = params["blocks"]["relative_position_bias"]["table"]
  name = "blocks.2.attn.relative_position_bias_table"
  np.testing.assert_array_equal(table[2], state["model"][name])
  assert not params["mask_token"].any()
  x = np.random.default_rng(0).normal(size=(2, 196, 48)).astype(np.float32)
  ours = objective(imported, **QUIET["vision"]).head(params["head"], x, None)
  m = state["model"]
  mean = x.mean(1, dtype=np.float64)
  mean -= mean.mean(-1, keepdims=True)
  mean /= np.sqrt(mean.var(-1, keepdims=True) + 1e-6)
  theirs = (mean * m["fc_norm.weight"] + m["fc_norm.bias"]) @ m["head.weight"].T
  np.testing.assert_allclose(ours, theirs + m["head.bias"], atol=1e-5)


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


def test_encoder_alone_where_the_rest_is_refused(tmp_path):
  state = checkpoints.audio(group_norm_target_layer=True)
  state["cfg"]["task"]["normalize"] = False
  with pytest.raises(
    InterchangeError, match=r"normalize=False: it was trained"
  ):
    read(tmp_path, state)
  alone = read(tmp_path, state, encoder_only=True)
  assert "head" not in alone.params and alone.objective == {}
  assert "normalize=False" in alone.notes[0]
  assert set(alone.teacher_params) == {"norm", "blocks"}


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


def golden(name):
  path = pathlib.Path(FOLDERS.split(":")[0]) / f"{name}.npz"
  if not path.exists():
    pytest.skip(f"no {name}.npz in {FOLDERS}; set D2V_GOLDENS")
  with np.load(path) as z:
    arrays = {k: z[k] for k in z.files if k != "meta"}
    return json.loads(str(z["meta"])), arrays


def group(arrays, prefix):
  return {
    k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)
  }


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
