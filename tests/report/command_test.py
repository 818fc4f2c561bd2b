"""The command writes the page, or says what is wrong."""

import html
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from d2v_jax.report import command
from tests import random_runs, runs
from tests.report import workdirs

SECTIONS = (
  "results",
  "training",
  "evaluations",
  "health",
  "what-the-network-sees",
  "features-of-tokens",
  "nearest-neighbours",
  "confusion",
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
    assert f'<section id="{section}' in page


@pytest.mark.parametrize(
  "modality",
  [
    "vision",
    *(
      pytest.param(x, marks=pytest.mark.slow)
      for x in random_runs.CONFIGS
      if x != "vision"
    ),
  ],
)
def test_a_page_of_a_network(modality, workdirs_of_networks, tmp_path):
  workdir, output = workdirs_of_networks[modality], tmp_path / "page.html"
  arguments = [str(workdir), f"--output={output}", "--examples=40"]
  pictures = tmp_path / "some/pictures"
  assert command.main([*arguments, f"--pictures={pictures}"]) == 0
  names = {x.name for x in pictures.iterdir()} if modality != "text" else set()
  assert ("nearest-neighbours.svg" in names) == (modality != "text")
  page = output.read_text(encoding="utf-8")
  assert len(page.encode()) < 3e6
  assert not re.findall("This cannot be shown: [^<]*", page)


@pytest.fixture
def browser(tmp_path):
  """Opens a page without a network; returns what a command line asks for."""
  found = shutil.which("chromium") or shutil.which("chromium-browser")
  found = found or shutil.which("google-chrome")
  if found is None:
    pytest.skip("there is no Chromium to open the page with")

  def browser(page, *arguments):
    done = subprocess.run(
      [
        *(found, "--headless=new", "--no-sandbox", "--disable-gpu"),
        *("--hide-scrollbars", "--enable-logging=stderr"),
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path / 'browser'}",
        *arguments,
        page.as_uri(),
      ],
      capture_output=True,
      text=True,
      timeout=runs.TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    console = [x for x in done.stderr.splitlines() if "CONSOLE" in x]
    assert not console
    return done.stdout

  return browser


@pytest.mark.slow
def test_a_browser_shows_it(browser, workdirs_of_networks, tmp_path):
  folder = workdirs.write(tmp_path / "a <b> & c")
  page = tmp_path / "page.html"
  arguments = [str(folder), str(workdirs_of_networks["speech"])]
  status = command.main([*arguments, f"--output={page}", "--examples=40"])
  assert status == 0
  assert page.stat().st_size < 3e6
  shown = browser(page, "--dump-dom")
  for text in (
    "a &lt;b&gt; &amp; c",
    "knn: accuracy",
    "untrained 0.250, pixels 0.800",
    "Examples of the first update",
    "principal components",
    "is \\ taken for",
  ):
    assert text in shown
  assert shown.count("<audio") == shown.count("data:audio/mpeg") > 30
  colours = {}
  for scheme, flags in (("light", ()), ("dark", ("--force-dark-mode",))):
    picture = tmp_path / f"{scheme}.png"
    browser(page, f"--screenshot={picture}", "--window-size=1280,3000", *flags)
    pixels = cv2.imread(str(picture)).reshape(-1, 3)[:, ::-1]
    colours[scheme] = {tuple(x) for x in np.unique(pixels, axis=0).tolist()}
    # Most of the page is its ground.
    ground = np.median(pixels, 0)
    assert (ground.mean() > 200) == (scheme == "light")
  # The first line of charts, as page.css has it.
  assert (0x00, 0x72, 0xB2) in colours["light"]
  assert (0x6C, 0xBD, 0xF0) in colours["dark"]


def test_of_many_runs_some_have_pictures(tmp_path):
  folders = [workdirs.write(tmp_path / f"run{i}") for i in range(5)]
  assert command.main([*map(str, folders), f"--output={tmp_path}/x.html"]) == 0
  page = (tmp_path / "x.html").read_text()
  assert page.count("<h2>Nearest neighbours") == 3
  assert "first 3 runs only; of run3, run4 `d2v report`" in page


def test_a_page_is_ascii(tmp_path):
  one = workdirs.write(tmp_path / "日本語")
  assert command.main([str(one)]) == 0
  page = (one / "report.html").read_bytes().decode("ascii")
  assert "日本語" in html.unescape(page)


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


@pytest.mark.parametrize("flag", ["output", "pictures"])
def test_a_path_is_not_empty(flag, capsys):
  with pytest.raises(SystemExit):
    command.main(["a", f"--{flag}="])
  assert (
    f"--{flag}: it is empty, as that of a shell's" in capsys.readouterr().err
  )


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
