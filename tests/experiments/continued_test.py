"""The steps of experiments/continued, at a small size."""

import json

import pytest

from d2v_jax import commands
from experiments.continued import report, run
from tests.docs_test import write_continue

SMALL = {
  "probe": ["--config.evaluation.batch_size=8", "--config.num_devices=1"],
  "train": [
    "--config.total_steps=2",
    "--config.batch_size=2",
    "--config.num_devices=1",
    "--config.log_every=1",
  ],
}


def table(path):
  """Sixty rows of two classes that count and one that does not."""
  lines = ["text\tlabel\tsplit"]
  for i in range(60):
    label = ("noun.one", "noun.one", "noun.two", "verb.one")[i % 4]
    split = "test" if i % 5 == 0 else "train"
    lines.append(f"{'ab' * (i % 5 + 1)} {'c' * (i % 3 + 1)}\t{label}\t{split}")
  path.write_text("\n".join(lines) + "\n")


def test_what_is_drawn(tmp_path):
  table(tmp_path / "a.tsv")
  chosen = run.Examples(prefix="noun.", classes=1)
  assert run.draw(tmp_path / "a.tsv", chosen, tmp_path) == 1
  rows = (tmp_path / "examples.jsonl").read_text().splitlines()
  labels = {json.loads(row)["label"] for row in rows}
  splits = [json.loads(row)["split"] for row in rows]
  assert labels == {"noun.one"}
  assert (splits.count("train"), splits.count("test")) == (24, 6)
  # Nothing of the test is read on the way.
  assert len((tmp_path / "texts.txt").read_text().splitlines()) == 24


def test_each_run_begins_where_it_should(tmp_path):
  found = run.steps("import", tmp_path, 7)
  flags = {name: set(command) for name, command in found.items()}
  continued = f"{tmp_path}/continued-1"
  assert "--run=import" in flags["probed"]
  assert "--config.init_from=import" in flags["continued-1"]
  assert f"--run={continued}" in flags["continued_probed-1"]
  assert "--config.init_from=import" in flags["finetuned-1"]
  assert f"--config.init_from={continued}" in flags["continued_finetuned-1"]
  assert all(f"--workdir={tmp_path}/{name}" in flags[name] for name in flags)


def test_the_table(tmp_path):
  content = {
    "references": {"tf_idf": [0.5, 0.5]},
    "accuracies": {"probed": [0.4, 0.5, 0.6]},
  }
  (tmp_path / "verses.json").write_text(json.dumps(content))
  lines = report.table([tmp_path / "verses.json"])
  assert lines[0] == "|  | verses |"
  assert "| TF-IDF, logistic regression | 0.500 |" in lines
  # 0.1 / sqrt(3) times 4.303, Student's t of two degrees of freedom.
  assert "| import, probe | 0.500 (0.252 to 0.748) |" in lines
  assert "| gone on, probe |  |" in lines


@pytest.mark.slow
def test_all_steps(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  write_continue(tmp_path)
  table(tmp_path / "a.tsv")
  assert commands.main(["convert", "import", "bert", "runs/bert"]) == 0
  monkeypatch.setattr(run, "SEEDS", (0, 1))
  ours = commands.main
  called = []

  def main(command):
    called.append(command)
    return ours([*command, *SMALL[command[0]]])

  monkeypatch.setattr(run.d2v, "main", main)
  arguments = ["nouns", "runs/bert", "a.tsv", "runs/nouns"]
  assert run.main(arguments) == 0
  assert len(called) == 9
  assert run.main(arguments) == 0
  assert len(called) == 9  # what has finished is not repeated
  result = json.loads((tmp_path / "runs/nouns/result.json").read_text())
  names = {"probed", "continued_probed", "finetuned", "continued_finetuned"}
  assert set(result["accuracies"]) == names
  assert all(len(x) == 2 for x in result["accuracies"].values())
  assert set(result["references"]) == {"untrained", "tf_idf"}
  assert set(result["losses"]) == {"continued-0", "continued-1"}
