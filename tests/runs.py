"""Runs of the tiny config in processes of their own, and what they leave."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import jax
import numpy as np

from d2v_jax.training.checkpoints import stored_items

ROOT = pathlib.Path(__file__).parents[1]
TINY = "tests/configs/tiny.py"
TIMEOUT = 240
# Dropout, flips and accumulation have randomness that must go on too.
RANDOM = (
  "--config.encoder.attention_dropout=0.1",
  "--config.encoder.drop_path=0.1",
  "--config.accumulate=2",
  "--config.data.augment.flip=0.5",
  "--config.checkpoints.keep_latest=3",
)


def environment(devices=1):
  """This process's, with so many simulated devices."""
  flags = re.sub(
    r"--xla_force_host_platform_device_count=\d+",
    "",
    os.environ.get("XLA_FLAGS", ""),
  )
  flags += f" --xla_force_host_platform_device_count={devices}"
  return os.environ | {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": flags,
    "PYTHONWARNINGS": "default",
  }


def start(
  *arguments,
  workdir,
  devices=1,
  moment="never",
  count=1,
  signum=signal.SIGKILL,
  report=None,
  variables=None,
  config=TINY,
):
  """Starts `main --config=... --workdir=... ARGUMENTS` through tests.child."""
  report = report or f"{workdir}.report"
  command = [sys.executable, "-m", "tests.child", moment, str(count)]
  command += [str(int(signum)), str(report), f"--config={config}"]
  return subprocess.Popen(
    [*command, f"--workdir={workdir}", *arguments],
    cwd=ROOT,
    env=environment(devices) | (variables or {}),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def finish(*processes, seconds=TIMEOUT):
  """Waits; returns (exit status, stdout, stderr) of each."""
  try:
    outputs = [p.communicate(timeout=seconds) for p in processes]
  finally:
    for process in processes:
      process.kill()
  return [
    (p.returncode, *output)
    for p, output in zip(processes, outputs, strict=True)
  ]


def run(*arguments, seconds=TIMEOUT, **options):
  """One process from start to end."""
  return finish(start(*arguments, **options), seconds=seconds)[0]


def pair(workdir, *arguments, moments=({}, {})):
  """Two processes of one run, each with two simulated devices."""
  with socket.socket() as s:
    s.bind(("localhost", 0))
    port = s.getsockname()[1]
  processes = [
    start(
      *arguments,
      f"--coordinator=localhost:{port}",
      "--num_processes=2",
      f"--process_id={i}",
      workdir=workdir,
      devices=2,
      report=f"{workdir}.report{i}",
      **moments[i],
    )
    for i in range(2)
  ]
  return finish(*processes)


def metrics(workdir):
  """Lines of metrics.jsonl, checked to be strict; without the speed."""

  def refuse(text):
    raise AssertionError(f"{text} is not JSON")

  lines = []
  for text in (workdir / "metrics.jsonl").read_text().splitlines():
    line = json.loads(text, parse_constant=refuse)
    assert all(type(v) in (int, float) for v in line.values()), line
    for name in ("examples_per_sec", "peak_fraction", "input_wait"):
      line.pop(name, None)
    lines.append(line)
  steps = [line["step"] for line in lines]
  assert steps == sorted(set(steps))
  return lines


def losses(workdir):
  """Step -> loss."""
  return {x["step"]: x["loss"] for x in metrics(workdir) if "loss" in x}


def reported(path, what):
  """What tests.child noted, in order."""
  lines = map(json.loads, pathlib.Path(path).read_text().splitlines())
  return [line[what] for line in lines if what in line]


def state(workdir):
  """Step and arrays of the newest checkpoint, by name."""
  found = {}
  for item in ("params", "teacher_params", "opt_state"):
    step, tree = stored_items.load_item(workdir / "checkpoints", item)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
      found[item + jax.tree_util.keystr(path)] = np.asarray(leaf)
  return step, found


def assert_same_state(a, b):
  """Bit for bit."""
  (step_a, arrays_a), (step_b, arrays_b) = state(a), state(b)
  assert step_a == step_b
  assert arrays_a.keys() == arrays_b.keys()
  for name, array in arrays_a.items():
    np.testing.assert_array_equal(array, arrays_b[name], err_msg=name)
