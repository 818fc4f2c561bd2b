"""data2vec_audio, and wav2vec_ctc around it."""

import argparse

import jax
import numpy as np
import pytest

from d2v_jax.interchange.weights import InterchangeError
from tests.interchange.fairseq import checkpoints
from tests.interchange.fairseq.reading import read


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
