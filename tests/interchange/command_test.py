"""The command line of imports and exports."""

import dataclasses
import functools
import json
import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from d2v_jax import bad_input, pretrained
from d2v_jax import config as config_lib
from d2v_jax.interchange import command, importing, run
from d2v_jax.interchange.fairseq import reader as fairseq
from d2v_jax.interchange.huggingface import folder as huggingface
from d2v_jax.interchange.model import Model, build
from tests import random_runs
from tests.interchange.fairseq import checkpoints
from tests.interchange.torch_file import torch_files

ROOT = pathlib.Path(__file__).parents[2]
# Arguments and weights of a model that is built in no time.
ENCODER = dict(
  name="text",
  vocab_size=100,
  max_tokens=8,
  width=8,
  depth=2,
  num_heads=2,
  mlp_ratio=2.0,
)


def small(**changes):
  return dataclasses.replace(_small(), **changes)


@functools.cache
def _small():
  objective = {
    "name": "data2vec",
    "targets": {"top_k": 2, "output": "block", "layer_norms": ("layer",)},
    "head": {"layers": 1},
    "ema": {"tracked": ("blocks",)},
  }
  _, built = build("text", ENCODER, objective)
  tokens = np.zeros((1, 4), np.int32)
  params = built.init(jax.random.key(0), {"inputs": tokens})
  params = jax.tree.map(np.asarray, params)
  teacher = {"blocks": jax.tree.map(lambda x: 1.1 * x + 0.01, params["blocks"])}
  return Model(
    modality="text",
    encoder=ENCODER,
    objective=objective,
    params=params,
    teacher_params=teacher,
    description="made up",
  )


def same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def source(folder, kind="text", **kwargs):
  path = folder / f"{kind}.pt"
  torch_files.save(path, getattr(checkpoints, kind)(**kwargs))
  return path


@pytest.mark.slow
def test_run_of_an_import(tmp_path):
  model = small(
    data={"tokenizer": {"path": "tokenizer"}},
    files={"tokenizer/dict.txt": b"words"},
  )
  dest = tmp_path / "deep" / "dest"
  assert str(run.write(dest, model, {"source": "x"})) == str(dest)
  record = json.loads((dest / "run.json").read_text())
  assert record["origin"] == {"source": "x"}
  assert record["starts"][0]["step"] == 0
  assert record["config"]["encoder"] == ENCODER
  folder = record["config"]["data"]["tokenizer"]["path"]
  assert (pathlib.Path(folder) / "dict.txt").read_bytes() == b"words"
  again = run.read(dest)
  same(again.params, model.params)
  same(again.teacher_params, model.teacher_params)
  assert again.objective == model.objective and again.encoder == ENCODER
  assert [p.name for p in dest.parent.iterdir()] == ["dest"]
  # What else reads runs reads this one.
  teacher = pretrained.load(dest, "teacher", num_devices=1)
  same(teacher.params["blocks"], model.teacher_params["blocks"])
  student = pretrained.load(dest, "student", num_devices=1)
  same(student.params["blocks"], model.params["blocks"])
  assert student.features(np.full((2, 5), 7, np.int32)).shape == (2, 8)


def test_run_without_teacher_and_objective(tmp_path):
  params = {k: v for k, v in small().params.items() if k != "head"}
  model = small(objective={}, params=params, teacher_params={})
  again = run.read(run.write(tmp_path / "a", model, {}))
  same(again.params, params)
  assert again.teacher_params == {}


def test_nothing_is_overwritten_and_nothing_left_behind(tmp_path, monkeypatch):
  taken = tmp_path / "taken"
  taken.mkdir()
  run.write(taken, small(), {})  # empty: fine
  with pytest.raises(ValueError, match="exists and is not empty; nothing is"):
    run.write(taken, small(), {})
  for name in ("../x", "run.json", "checkpoints/x", "/x", "a/../../x", ".x"):
    with pytest.raises(
      ValueError, match="a file beside a run cannot be called"
    ):
      run.write(tmp_path / "new", small(files={name: b""}), {})
  with pytest.raises(TypeError):
    run.write(tmp_path / "new", small(), {"x": object()})
  monkeypatch.setattr(run.provenance, "record_start", _full)
  with pytest.raises(ValueError, match="No space left; choose another"):
    run.write(tmp_path / "new", small(), {})
  assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def _full(*_):
  raise OSError("No space left")


def test_import_of_a_file(tmp_path, capsys):
  path, dest = source(tmp_path), tmp_path / "dest"
  assert command.main(["import", str(path), str(dest)]) == 0
  out = capsys.readouterr().out
  for line in (
    "model: data2vec_text of fairseq, pretrained",
    "modality: text",
    "encoder: 2 layers of width 64",
    "student: 122,",
    "in blocks",
    "objective: data2vec",
    "note: no tokenizer beside the file",
    "note: licence: ",
    f"wrote {dest}",
  ):
    assert line in out, out
  origin = json.loads((dest / "run.json").read_text())["origin"]
  assert origin["format"] == "fairseq" and len(origin["sha256"]) == 64
  assert origin["source"] == str(path) and len(origin["notes"]) == 3
  imported = fairseq.read(path)
  again = run.read(dest)
  same(again.params, imported.params)
  same(again.teacher_params, imported.teacher_params)
  assert again.encoder == imported.encoder


def test_a_file_s_activations_are_those_of_pytorch(tmp_path, capsys):
  pytest.importorskip("transformers", reason="extra `parity` not installed")
  pytest.importorskip("torch", reason="extra `parity` not installed")
  dest = str(tmp_path / "dest")
  arguments = ["import", str(source(tmp_path)), dest, "--check"]
  assert command.main(arguments) == 0
  found = re.search(
    r"those of PyTorch with the same weights: (\S+) \(.*, of 3 compared",
    capsys.readouterr().out,
  )
  assert float(found[1]) < 1e-4


def test_a_comparison_that_fails_stops_nothing(tmp_path, capsys, monkeypatch):
  def fail(*_):
    raise TypeError("of another library")

  monkeypatch.setattr(importing.parity, "check", fail)
  arguments = ["import", str(source(tmp_path))]
  assert command.main([*arguments, str(tmp_path / "a")]) == 0
  out, err = capsys.readouterr()
  assert "PyTorch does not compute this model (TypeError;" in out
  assert "of another library" not in out + err
  assert command.main([*arguments, str(tmp_path / "b"), "--check"]) == 2
  assert "error: --check: PyTorch does not" in capsys.readouterr().err
  assert not (tmp_path / "b").exists()
  monkeypatch.setenv("D2V_TRACEBACK", "1")
  with pytest.raises(TypeError, match="of another library"):
    command.main([*arguments, str(tmp_path / "c")])


def test_import_of_an_encoder_alone(tmp_path, capsys):
  path, dest = source(tmp_path, "glue"), tmp_path / "dest"
  assert command.main(["import", str(path), str(dest), "--encoder_only"]) == 0
  out = capsys.readouterr().out
  assert "objective: none" in out and "teacher: no teacher in it" in out
  assert "head" not in run.read(dest).params


def test_export_and_import_again(tmp_path, capsys):
  model = small()
  made = run.write(tmp_path / "run", model, {})
  out, back = tmp_path / "hf", tmp_path / "back"
  assert command.main(["export", str(made), str(out), "--format=hf"]) == 0
  assert f"wrote {out}: hf" in capsys.readouterr().out
  assert (out / "config.json").exists()
  same(huggingface.read(out).params, model.params)
  readme = out / "README.md"
  text = readme.read_text().replace("# license: fill", "license: mit # fill")
  readme.write_text(text)
  assert command.main(["import", str(out), str(back), "--no-check"]) == 0
  printed = capsys.readouterr().out
  assert "licence, by its README: mit" in printed and "--no-check" in printed
  again = run.read(back)
  same(again.params, model.params)
  same(again.teacher_params, model.teacher_params)


def test_export_of_plain_safetensors(tmp_path, capsys):
  model = small()
  made = run.write(tmp_path / "run", model, {})
  out, back = tmp_path / "plain", tmp_path / "back"
  flag = "--format=safetensors"
  assert command.main(["export", str(made), str(out), flag]) == 0
  assert command.main(["import", str(out), str(back)]) == 0
  assert "licence, by its README: not stated" in capsys.readouterr().out
  again = run.read(back)
  same(again.params, model.params)
  same(again.teacher_params, model.teacher_params)
  assert again.encoder == model.encoder and again.objective == model.objective
  origin = json.loads((back / "run.json").read_text())["origin"]
  assert origin["format"] == "safetensors"
  again = [str(made), str(tmp_path / "other"), flag, "--model=student"]
  assert command.main(["export", *again]) == bad_input.EXIT_STATUS
  assert "hold both student and teacher" in capsys.readouterr().err


def test_export_of_signals(tmp_path, capsys):
  """All but to transformers, with what channels are normalised by."""
  made = random_runs.save(tmp_path / "run", "signal")
  record = json.loads((made / "run.json").read_text())
  data = {"mean": [1.0, 2.0, 3.0], "std": [1.0, 1.0, 2.0]}
  record["config"]["data"] |= data
  record["config"]["objective"] = {}  # there are no weights of its head
  (made / "run.json").write_text(json.dumps(record))
  names = {x: str(tmp_path / x) for x in ("hf", "safetensors", "jax")}

  def export(name):
    return command.main(["export", str(made), names[name], f"--format={name}"])

  assert export("hf") == bad_input.EXIT_STATUS
  assert (
    "config.modality='signal' cannot be written as a Hugging Face folder"
  ) in capsys.readouterr().err
  assert export("safetensors") == export("jax") == 0
  assert "takes float32 [b, n, 3]" in capsys.readouterr().out
  back = tmp_path / "back"
  assert command.main(["import", names["safetensors"], str(back)]) == 0
  again = run.read(back)
  assert config_lib.plain(again.data) == config_lib.plain(data)
  same(again.params, run.read(made).params)
  function = jax.export.deserialize(
    bytearray(pathlib.Path(names["jax"]).read_bytes())
  )
  x = np.random.default_rng(0).normal(size=(2, 30, 3)).astype(np.float32)
  teacher = pretrained.load(made, "teacher", num_devices=1)
  np.testing.assert_allclose(function.call(x), teacher.features(x), atol=1e-5)


def test_export_of_a_function(tmp_path, capsys):
  model = small()
  made = run.write(tmp_path / "run", model, {})
  out = tmp_path / "features.jax"
  arguments = ["export", str(made), str(out), "--format=jax", "--length=5"]
  assert command.main([*arguments, "--layers=0,1"]) == 0
  assert "note: takes " in capsys.readouterr().out
  function = jax.export.deserialize(bytearray(out.read_bytes()))
  tokens = np.arange(10, 25, dtype=np.int32).reshape(3, 5)
  teacher = pretrained.load(made, "teacher", num_devices=1)
  np.testing.assert_allclose(
    function.call(tokens), teacher.features(tokens, layers=(0, 1)), atol=1e-5
  )
  assert command.main(arguments) == bad_input.EXIT_STATUS
  assert "exists" in capsys.readouterr().err


def bad_inputs(folder):
  """Arguments and what the error says."""
  torch_files.save(folder / "list.pt", [1, 2])
  (folder / "noise.pt").write_text("nothing of the kind")
  (folder / "taken").mkdir()
  (folder / "taken" / "file").write_text("kept")
  (folder / "nothing").mkdir()
  run.write(folder / "run", small(teacher_params={}), {})
  (folder / "damaged").mkdir()
  (folder / "damaged" / "run.json").write_text('{"config": {"a": 1}}')
  good = source(folder)
  new = f"{folder}/new"
  return [
    (["import", f"{folder}/none.pt", new], "none.pt does not exist; check SOU"),
    (["import", f"{folder}/list.pt", new], "is not a checkpoint of fairseq or"),
    (["import", f"{folder}/noise.pt", new], "noise.pt: "),
    (["import", f"{folder}/nothing", new], "has neither config.json (Hugging"),
    (["import", f"{folder}/run", new], "is a run already; use it as it is"),
    (["import", f"{good}", f"{folder}/taken"], "exists and is not empty; noth"),
    (["import", f"{good}", new, "--dictionary=/no"], "/no: a text model's dic"),
    (
      ["export", f"{folder}/none", new, "--format=hf"],
      "has no run.json, so it",
    ),
    (["export", f"{folder}/damaged", new, "--format=hf"], "does not say wha"),
    (
      ["export", f"{folder}/run", new, "--format=hf", "--model=teacher"],
      "has no teacher; leave --model out",
    ),
    (
      ["export", f"{folder}/run", new, "--format=jax", "--model=teacher"],
      "has no teacher (its objective is 'data2vec'); choose the student",
    ),
    (
      ["export", f"{folder}/run", new, "--format=hf", "--pool=cls"],
      "--pool: for --format=jax only",
    ),
    (
      ["export", f"{folder}/run", new, "--format=hf", "--step=7"],
      "no checkpoint of step 7",
    ),
    (
      ["export", f"{folder}/run", f"{folder}/taken", "--format=hf"],
      "exists and is not empty",
    ),
  ]


def test_bad_input(tmp_path, capsys):
  for arguments, message in bad_inputs(tmp_path):
    assert command.main(arguments) == bad_input.EXIT_STATUS, arguments
    err = capsys.readouterr().err
    assert "\nerror: " in f"\n{err}" and message in err, (arguments, err)
    assert not (tmp_path / "new").exists()
  assert (tmp_path / "taken" / "file").read_text() == "kept"


def test_traceback_is_shown_on_request(tmp_path, monkeypatch):
  monkeypatch.setenv("D2V_TRACEBACK", "1")
  with pytest.raises(ValueError, match="does not exist"):
    command.main(["import", str(tmp_path / "no.pt"), str(tmp_path / "new")])


def test_wrong_command_lines(capsys):
  for arguments in ([], ["import"], ["export", "a", "b"], ["convert", "a"]):
    with pytest.raises(SystemExit) as caught:
      command.main(arguments)
    assert caught.value.code == 2
  with pytest.raises(SystemExit):
    command.main(["export", "a", "b", "--format=tf"])
  assert "invalid choice: 'tf'" in capsys.readouterr().err


def test_as_a_command():
  command = [sys.executable, "-m", "d2v_jax", "convert"]
  for arguments, wanted in (
    (
      ["--help"],
      "d2v convert import audio_base_ls.pt",
    ),
    (["import", "--help"], "--encoder_only"),
    (["export", "--help"], "{hf,safetensors,onnx,jax}"),
  ):
    text = subprocess.run(
      [*command, *arguments],
      cwd=ROOT,
      capture_output=True,
      text=True,
      check=True,
    ).stdout
    assert wanted in text
