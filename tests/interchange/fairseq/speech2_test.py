"""data2vec 2.0 of speech, and wav2vec_ctc around it."""

import numpy as np
import pytest

from d2v_jax.interchange.weights import InterchangeError
from tests.interchange.fairseq import checkpoints2 as files
from tests.interchange.fairseq.reading import read, same_encoder


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
  same_encoder(imported, files.pretrained("audio"), tmp_path)
  alone = read(tmp_path, state, encoder_only=True)
  assert alone.objective == {} and "head" not in alone.params
  state["model"]["classifier.bias"] = np.zeros(3, np.float32)
  with pytest.raises(
    InterchangeError, match=r"unexpected weights \(1\): class"
  ):
    read(tmp_path, state)
