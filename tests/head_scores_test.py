"""What the head of an import predicts, on test data alone."""

import json

import numpy as np
import pytest
import soundfile

import d2v_jax
from d2v_jax import commands, head_scores
from d2v_jax.interchange import run
from tests.data.images.pictures import encoded, smooth
from tests.interchange import small_models


def imported(folder, modality, kind="classification", bias=None, **data):
  """An import; with a bias, its head answers with nothing else."""
  model = small_models.make(modality, kind)
  model.data.update(data)
  if bias is not None:
    last = max(k for k in model.params["head"] if k.startswith("fc"))
    head = model.params["head"][last]
    head["kernel"] = np.zeros_like(head["kernel"])
    head["bias"] = np.array(bias, np.float32)
  return run.write(folder, model, {})


def evaluate(capsys, *arguments):
  assert commands.main(["evaluate", *map(str, arguments)]) == 0
  return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture
def photos(tmp_path):
  """Class folders: six images of pos, two of neg."""
  for name, count in (("pos", 6), ("neg", 2)):
    (tmp_path / "photos" / name).mkdir(parents=True)
    for k in range(count):
      path = tmp_path / "photos" / name / f"{k}.png"
      path.write_bytes(encoded(smooth(20, 24, seed=k), "PNG"))
  return tmp_path / "photos"


def test_classes_are_those_of_the_network(tmp_path, photos, capsys):
  classes = ("pos", "neg", "other")
  workdir = imported(
    tmp_path / "run", "vision", bias=[1, 0, 0], classes=classes
  )
  results = evaluate(capsys, f"--run={workdir}", f"--data={photos}")
  assert results["step"] == 0
  assert results["classification/accuracy"] == 0.75
  assert json.loads((workdir / "evaluation.json").read_text()) == results


@pytest.mark.slow
def test_other_ways_to_give_data(tmp_path, photos, capsys):
  workdir = imported(
    tmp_path / "run", "vision", bias=[1, 0, 0], classes=("pos", "neg", "other")
  )
  # A table, and a folder of its own for the result.
  rows = [f"{p},{p.parent.name}" for p in sorted(photos.glob("*/*.png"))]
  (tmp_path / "a.csv").write_text("\n".join(["path,kind", *rows]))
  arguments = [f"--data={tmp_path / 'a.csv'}", "--label=kind"]
  arguments += [f"--run={workdir}", f"--workdir={tmp_path / 'out'}"]
  results = evaluate(capsys, *arguments)
  assert results["classification/accuracy"] == 0.75
  assert (tmp_path / "out/evaluation.json").exists()

  # From Python, with numbers in place of names.
  data = {"image": np.zeros((4, 16, 16, 3), np.uint8), "label": [0, 0, 1, 0]}
  results = d2v_jax.evaluate(workdir, data={"test": data})
  assert results["classification/accuracy"] == 0.75


def test_several_classes(tmp_path, photos, capsys):
  """Its classes are in another order than the table's."""
  classes = ("white", "grey", "black")
  workdir = imported(
    tmp_path / "run", "vision", "multi_label", bias=[0, 0, 0], classes=classes
  )
  files = sorted(photos.glob("*/*.png"))
  names = ["black; grey", "grey", "", "black", "grey", "", "", "grey"]
  rows = [f"{p},{c}" for p, c in zip(files, names, strict=True)]
  (tmp_path / "a.csv").write_text("\n".join(["path,label", *rows]))
  arguments = [f"--run={workdir}", f"--data={tmp_path / 'a.csv'}"]
  results = evaluate(capsys, *arguments, "--label_separator=;")
  # All scores are alike: of each class the share of the examples that have it.
  assert results["mean_average_precision/map"] == (4 / 8 + 2 / 8) / 2
  assert results["mean_average_precision/classes"] == 2

  # By default it is a comma, and this one is no class.
  assert commands.main(["evaluate", *arguments]) == 2
  assert "'black; grey'" in capsys.readouterr().err


def test_classes_that_the_network_has_not(tmp_path, photos, capsys):
  classes = ("a", "b", "c")
  workdir = imported(tmp_path / "run", "vision", classes=classes)
  arguments = ["evaluate", f"--run={workdir}", f"--data={photos}"]
  assert commands.main(arguments) == 2
  message = "its classes 'neg', 'pos' are none of the network's"
  assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_network_without_names(tmp_path, photos, capsys):
  """The user says which outputs are meant."""
  workdir = imported(tmp_path / "nameless", "vision", bias=[0, 0, 1])
  arguments = ["evaluate", f"--run={workdir}", f"--data={photos}"]
  assert commands.main(arguments) == 2
  assert "which are '0', '1', '2'; rename" in capsys.readouterr().err
  names = "--config.data.classes=('other', 'neg', 'pos')"
  results = evaluate(capsys, *arguments[1:], names)
  assert results["classification/accuracy"] == 0.75


@pytest.mark.slow
def test_transcripts(tmp_path, capsys):
  workdir = imported(tmp_path / "run", "speech", "ctc")
  rng, rows = np.random.default_rng(0), []
  for k, seconds in enumerate((0.4, 0.5)):
    path = tmp_path / f"{k}.wav"
    noise = 0.1 * rng.standard_normal(round(16_000 * seconds))
    soundfile.write(path, noise, 16_000)
    rows.append(f"{path},A CAB")
  (tmp_path / "a.csv").write_text("\n".join(["path,said", *rows]))
  arguments = [f"--run={workdir}", f"--data={tmp_path / 'a.csv'}"]
  results = evaluate(capsys, *arguments, "--label=said")
  assert results["wer/wer"] > 0


@pytest.mark.slow
def test_texts_and_scores(tmp_path, capsys):
  tokenizer = {"name": "kjv"}
  bias = [0, 0, 2, 0]
  workdir = imported(tmp_path / "a", "text", bias=bias, tokenizer=tokenizer)
  rows = ["In the beginning,it,2", "God,was,1", "the heavens,so,2", "and,,2"]
  (tmp_path / "a.csv").write_text("\n".join(["one,two,label", *rows]))
  arguments = [f"--data={tmp_path / 'a.csv'}", "--column=one,two"]
  results = evaluate(capsys, f"--run={workdir}", *arguments)
  assert results["classification/accuracy"] == 0.75
  workdir = imported(tmp_path / "b", "text", "regression", tokenizer=tokenizer)
  results = evaluate(capsys, f"--run={workdir}", *arguments)
  assert -1 <= results["regression/pearson"] <= 1


@pytest.mark.parametrize(
  "modality, kind, arguments, message",
  [
    ("vision", "pretrained", ["--data=x"], "its objective is 'data2vec', not"),
    ("speech", "ctc", ["--data=x"], "--data=x: ctc of speech needs a table"),
    ("vision", "classification", ["--data=x", "--split=a"], "--split needs a"),
    (
      "vision",
      "classification",
      ["--data=x.csv", "--column=a"],
      "--column: for text alone",
    ),
    (
      "vision",
      "classification",
      ["--data=x.csv", "--label_separator=,"],
      "learned classification, where an example has no several classes",
    ),
    ("vision", "classification", [], "config.evaluation: give data to test on"),
  ],
)
def test_what_cannot_be_measured(
  tmp_path, capsys, modality, kind, arguments, message
):
  workdir = imported(tmp_path / "run", modality, kind)
  assert commands.main(["evaluate", f"--run={workdir}", *arguments]) == 2
  assert message in capsys.readouterr().err


def test_wrong_command_lines(capsys):
  for arguments, message in (
    ([], "--workdir, or --run"),
    (["--run=a", "--split=b"], "--split is of --data, which is not given"),
    (["vit_small", "--run=a", "--data=b"], "in place of a config"),
  ):
    with pytest.raises(SystemExit):
      commands.main(["evaluate", *arguments])
    assert message in capsys.readouterr().err


def test_padding_changes_nothing(tmp_path):
  workdir = imported(tmp_path / "run", "speech", "ctc")
  config = head_scores.files_config(workdir, "a.csv", label="text")
  assert config["encoder"]["isolate_padding"] is True
