"""ONNX files in onnxruntime beside this library; skipped without the extra."""

import json
import re
import sys

import numpy as np
import pytest

from d2v_jax import commands, pretrained
from d2v_jax.interchange import command, onnx_check, onnx_export, run
from d2v_jax.interchange.weights import InterchangeError
from d2v_jax.objectives import ema
from tests import runs
from tests.interchange import small_models

EXTRA = "the extra `onnx` is not installed"
TOLERANCE = 1e-4
CASES = [
  ("vision", "classification"),
  ("vision", "second, biases, no CLS"),
  ("speech", "pretrained"),
  ("speech", "second, ctc"),
  ("text", "second, prenet"),
  ("text", "classification"),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  """(modality, kind) -> its model, the folder and the notes; made once."""
  for name in onnx_export._NEEDS:
    pytest.importorskip(name, reason=EXTRA)
  made = {}

  def write(*case):
    if case not in made:
      folder = tmp_path_factory.mktemp("onnx") / "out"
      model = small_models.make(*case)
      made[case] = (model, folder, onnx_export.write(folder, model))
    return made[case]

  return write


def session(folder):
  import onnxruntime

  path = str(folder / onnx_export.FILE)
  return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def outputs(folder, inputs):
  opened = session(folder)
  names = [x.name for x in opened.get_outputs()]
  return dict(zip(names, opened.run(None, inputs), strict=True))


@pytest.mark.parametrize("modality, kind", CASES)
def test_numbers_of_any_batch_and_length(written, modality, kind):
  model, folder, notes = written(modality, kind)
  params = ema.teacher(model.params, model.teacher_params)
  if "ema" in model.objective:
    params = {k: v for k, v in params.items() if k not in ("head", "decoder")}
  ours = onnx_check.own(model, params)
  for batch, length in ((1, 1), (4, 11)):
    inputs = onnx_check.inputs(model, params, batch, length)
    theirs, expected = outputs(folder, inputs), ours(inputs)
    padding = expected.pop("padding", None)
    if padding is not None and modality == "speech":
      np.testing.assert_array_equal(theirs.pop("padding"), padding)
    assert theirs.keys() == expected.keys()
    for name, value in expected.items():
      other = theirs[name]
      if padding is not None and value.ndim == 3:
        value, other = value[~padding], other[~padding]
      np.testing.assert_allclose(value, other, rtol=0, atol=TOLERANCE)
  assert float(notes[-1].split(": ")[1]) < TOLERANCE


@pytest.mark.parametrize(
  "modality, kind", [c for c in CASES if c[0] != "vision"]
)
def test_padding_changes_nothing(written, modality, kind):
  model, folder, _ = written(modality, kind)
  inputs = onnx_check.inputs(model, model.params, 3, 11)
  together = outputs(folder, inputs)
  count = inputs["attention_mask"][2].sum()
  assert count < inputs["attention_mask"].shape[1]
  alone = outputs(folder, {k: v[2:, :count] for k, v in inputs.items()})
  there = alone["last_hidden_state"].shape[1]
  for name, value in alone.items():
    whole = together[name][2:]
    if whole.ndim == 3:
      whole = whole[:, :there]
    if name != "padding":
      np.testing.assert_allclose(whole, value, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("modality, kind", CASES[1:3])
def test_features_are_those_of_the_run(tmp_path, written, modality, kind):
  model, folder, _ = written(modality, kind)
  inputs = onnx_check.inputs(model, model.params, 2, 6)
  if modality == "vision":
    given = inputs["pixel_values"].transpose(0, 2, 3, 1)
  else:
    inputs["attention_mask"][:] = 1
    given = inputs["input_values"]
  loaded = pretrained.load(
    run.write(tmp_path / "run", model, {}), num_devices=1
  )
  np.testing.assert_allclose(
    loaded.features(given),
    outputs(folder, inputs)["features"],
    rtol=0,
    atol=TOLERANCE,
  )


def test_what_the_file_says_of_itself(written):
  model, folder, notes = written("speech", "second, ctc")
  assert notes[-2] == (
    "opset 18; takes input_values [batch, samples], attention_mask [batch, "
    "samples] and gives last_hidden_state [batch, frames, 16], logits [batch, "
    "frames, 6], padding [batch, frames]"
  )
  opened = session(folder)
  known = opened.get_modelmeta().custom_metadata_map
  assert known["modality"] == "speech"
  assert json.loads(known["labels"]) == model.data["labels"]
  assert json.loads(known["preprocessor"])["sampling_rate"] == 16_000
  assert [x.type for x in opened.get_inputs()] == [
    "tensor(float)",
    "tensor(int64)",
  ]
  names = {path.name for path in folder.iterdir()}
  beside = {"preprocessor_config.json", "vocab.json", "tokenizer_config.json"}
  assert names == {"model.onnx"} | beside
  _, folder, _ = written("vision", "classification")
  known = session(folder).get_modelmeta().custom_metadata_map
  assert json.loads(known["classes"]) == ["LABEL_0", "LABEL_1", "LABEL_2"]
  _, folder, _ = written("text", "classification")
  assert (folder / "tokenizer.json").exists()


def test_the_check_sees_a_difference(written):
  model, folder, _ = written("vision", "second, biases, no CLS")
  model = small_models.make("vision", "second, biases, no CLS")
  params = ema.teacher(model.params, model.teacher_params)
  params = {k: v for k, v in params.items() if k != "decoder"}
  file = folder / onnx_export.FILE
  assert onnx_check.largest_difference(file, model, params) < TOLERANCE
  params["blocks"]["norm2"]["bias"][1, 3] += 0.01
  assert onnx_check.largest_difference(file, model, params) > 5e-3


def test_the_page(tmp_path, monkeypatch, capsys):
  for name in onnx_export._NEEDS:
    pytest.importorskip(name, reason=EXTRA)
  text = (runs.ROOT / "docs/convert.md").read_text()
  (line,) = re.findall(r"`(d2v convert export [^`]*onnx)`", text)
  (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
  run.write(tmp_path / "runs/digits", small_models.make("vision"), {})
  monkeypatch.chdir(tmp_path)
  assert commands.main(line.split()[1:]) == 0
  assert "wrote digits_onnx: onnx" in capsys.readouterr().out
  names = {}
  exec(code.replace("(3, 1, 8, 8)", "(3, 3, 16, 16)"), names)
  assert names["features"].shape == (3, 16)


def test_without_the_extra(tmp_path, monkeypatch, capsys):
  run.write(tmp_path / "run", small_models.make("vision"), {})
  for name in onnx_export._NEEDS:
    monkeypatch.setitem(sys.modules, name, None)
  arguments = ["export", str(tmp_path / "run"), str(tmp_path / "out")]
  assert command.main([*arguments, "--format=onnx"]) == 2
  said = capsys.readouterr().err
  assert (
    "--format=onnx needs torch, transformers, onnx, onnxscript, onnx" in said
  )
  assert "pip install d2v_jax[onnx]" in said
  assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(tmp_path):
  (tmp_path / "mine.txt").write_text("")
  with pytest.raises(InterchangeError, match="exists and is not empty"):
    onnx_export.write(tmp_path, small_models.make("vision"))
