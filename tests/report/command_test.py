"""The command writes the page, or says what is wrong."""

import subprocess
import sys

import pytest

from d2v_jax.report import command
from tests import runs
from tests.report import workdirs

SECTIONS = (
  "results",
  "training",
  "evaluations",
  "health",
  "cost",
  "config",
  "provenance",
)


def test_a_page_of_two_runs(tmp_path, capsys):
  one = workdirs.write(tmp_path / "one")
  two = workdirs.write(tmp_path / "<two> & more")
  output = tmp_path / "page.html"
  status = command.main([str(one), str(two), f"--output={output}"])
  assert status == 0
  assert capsys.readouterr().out.startswith(f"wrote {output}: 0.0")
  page = output.read_text(encoding="utf-8")
  assert "<h1>one and &lt;two&gt; &amp; more</h1>" in page
  assert "<two>" not in page
  for section in SECTIONS:
    assert f'<section id="{section}">' in page


def test_it_lies_in_the_run(tmp_path):
  one = workdirs.write(tmp_path / "one", lines=[])
  assert command.main([str(one)]) == 0
  assert (one / "report.html").exists()


def test_no_run(tmp_path, capsys):
  assert command.main([str(tmp_path)]) == 2
  assert "has no run.json" in capsys.readouterr().err
  assert not list(tmp_path.iterdir())


def test_no_folder(tmp_path, capsys):
  one = workdirs.write(tmp_path / "one")
  assert command.main([str(one), f"--output={tmp_path}/x/y.html"]) == 2
  assert "y.html" in capsys.readouterr().err


def test_help_needs_no_jax(tmp_path):
  (tmp_path / "jax.py").write_text("raise ImportError('jax was imported')")
  done = subprocess.run(
    [sys.executable, "-m", "d2v_jax", "report", "--help"],
    cwd=runs.ROOT,
    env=runs.environment() | {"PYTHONPATH": str(tmp_path)},
    capture_output=True,
    text=True,
    timeout=runs.TIMEOUT,
  )
  assert (done.returncode, done.stderr) == (0, "")
  assert "--output FILE" in done.stdout


def test_a_run_is_needed(capsys):
  with pytest.raises(SystemExit):
    command.main([])
  assert "RUN" in capsys.readouterr().err


def test_data_that_are_gone_are_named_and_the_rest_is_written(tmp_path):
  config = {
    **workdirs.CONFIG,
    "data": {"source": {"name": "folder", "path": str(tmp_path / "<gone>")}},
    "encoder": {"name": "vit", "image_size": 8, "patch_size": 4, "width": 16}
    | {"depth": 1, "num_heads": 2},
  }
  one = workdirs.write(tmp_path / "one", config=config)
  assert command.main([str(one)]) == 0
  page = (one / "report.html").read_text(encoding="utf-8")
  shown = page.split('<section id="what-the-network-sees">')[1]
  assert shown.startswith("<h2>What the network sees</h2>")
  assert "This cannot be shown: config.data.source: " in shown
  assert "&lt;gone&gt;" in shown and "<gone>" not in page
  assert '<section id="provenance">' in page
