"""docs/objectives.md: its example runs, and its table has all objectives."""

import importlib
import json
import re
import shlex
import sys

import pytest

from d2v_jax.objectives import OBJECTIVES, PARTS
from tests import runs

PAGE = (runs.ROOT / "docs/objectives.md").read_text()
SMALL = (
  "--config.total_steps=30",
  "--config.schedule.warmup_steps=5",
  "--config.encoder.width=16",
  "--config.encoder.num_heads=2",
  "--config.log_every=1",
)


def blocks():
  """The page's indented blocks, without the indentation."""
  found = re.findall(r"(?:^    .*\n|^\n+(?=    ))+", PAGE, re.MULTILINE)
  return [re.sub("^    ", "", x, flags=re.MULTILINE).strip() for x in found]


@pytest.fixture
def tables():
  """What the example adds is taken out again."""
  yield
  for table in (OBJECTIVES, PARTS):
    table.pop("gist", None)


def test_the_table_has_all_objectives():
  rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
  assert rows == list(OBJECTIVES)
  assert set(PARTS) == set(OBJECTIVES)


@pytest.mark.slow
def test_the_example_runs(
  tmp_path, monkeypatch, tables, cached_compilation, capsys
):
  example, commands = (b for b in blocks() if "gist" in b)
  configs = tmp_path / "configs"
  configs.mkdir()
  for name in ("digits", "probe_digits"):
    text = (runs.ROOT / f"configs/{name}.py").read_text()
    (configs / f"{name}.py").write_text(text)
  (configs / "gist.py").write_text(example + "\n")
  monkeypatch.chdir(tmp_path)
  # Another folder of that name may have been imported before.
  for name in [m for m in sys.modules if m.split(".")[0] == "configs"]:
    monkeypatch.delitem(sys.modules, name)
  lines = commands.replace("\\\n", "").splitlines()
  assert len(lines) == 3
  for line in lines:
    _, _, module, *words = shlex.split(line)
    words.append("--config.num_devices=1")
    if "--config=configs/gist.py" in words:
      words += SMALL
    status = importlib.import_module(module).main(words)
    assert status == 0, f"{line}\n{capsys.readouterr().err}"
  metrics = runs.metrics(tmp_path / "runs/gist")
  steps = [line for line in metrics if "loss" in line]
  assert len(steps) == 30
  assert steps[-1]["loss"] < steps[0]["loss"]
  assert {"target_std", "prediction_std", "ema_decay"} <= steps[0].keys()
  probed = json.loads(
    (tmp_path / "runs/gist_probe/evaluation.json").read_text()
  )
  assert 0.1 < probed["linear_probe/accuracy"] <= 1


@pytest.mark.slow
def test_the_comparison_runs(tmp_path, monkeypatch, capsys):
  (block,) = (b for b in blocks() if "objectives.report" in b)
  monkeypatch.chdir(tmp_path)
  for line in block.replace("\\\n", "").splitlines():
    _, _, module, *words = shlex.split(line)
    if module == "d2v_jax.main":
      words = [
        w.replace("=experiments", f"={runs.ROOT}/experiments", 1) for w in words
      ]
      words += ["--config.num_devices=1", "--config.total_steps=2"]
      words.append("--config.schedule={'name': 'constant', 'peak': 1e-3}")
    status = importlib.import_module(module).main(words)
    assert status == 0, f"{line}\n{capsys.readouterr().err}"
  result = json.loads((tmp_path / "out/result.json").read_text())
  assert set(result["objectives"]) == {"logmel", "data2vec2"}
