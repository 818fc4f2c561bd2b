"""The scripts of docs/ for clusters, with stand-ins for the clusters."""

import os
import re
import shutil
import signal
import subprocess

import pytest

from tests import runs

DOCS = runs.ROOT / "docs"


@pytest.fixture
def command(tmp_path):
  """Puts a shell script in the place of a command; it can note what it got."""
  folder = tmp_path / "bin"
  folder.mkdir()

  def command(name, script):
    path = folder / name
    path.write_text(
      f'#!/bin/bash\nnote() {{ echo "$*" >> "{tmp_path}/notes"; }}\n{script}\n'
    )
    path.chmod(0o755)

  command.environment = os.environ | {
    "PATH": f"{folder}:{os.environ['PATH']}",
    "SLURM_JOB_ID": "7",
    "CLONE": "https://host/d2v_jax",
    "BUCKET": "gs://bucket",
    "PAUSE": "0",
    "COUNT": str(tmp_path / "count"),
  }
  command.notes = lambda: (tmp_path / "notes").read_text().splitlines()
  return command


def batch_script():
  """The one that docs/slurm.md shows."""
  page = (DOCS / "slurm.md").read_text()
  (script,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
  return script


@pytest.fixture
def batch(tmp_path):
  path = tmp_path / "vit_base.sbatch"
  path.write_text(batch_script())
  return ["bash", str(path)]


def test_scripts_pass_a_linter(batch):
  shellcheck = shutil.which("shellcheck")
  if shellcheck is None:
    pytest.skip("no shellcheck; it comes with the extra `cloud-test`")
  for path in (batch[-1], DOCS / "tpu_job.sh"):
    done = subprocess.run(
      [shellcheck, path], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


# Slurm


@pytest.mark.parametrize(
  ("status", "queued"),
  [(0, False), (2, False), (3, False), (4, False), (75, True), (137, True)],
)
def test_a_job_is_queued_again_where_that_helps(command, batch, status, queued):
  command("srun", f"note srun; exit {status}")
  command("scontrol", 'note "$@"')
  done = subprocess.run(batch, env=command.environment, timeout=60)
  assert done.returncode == status
  assert command.notes() == ["srun", *["requeue 7"] * queued]


def test_the_end_of_the_time_is_told_to_the_run_and_waited_for(command, batch):
  command(
    "srun",
    "trap 'note told; sleep .5; note saved; exit 143' TERM\n"
    'note "$3 $4"; touch "$COUNT"; while true; do sleep .05; done',
  )
  command("scontrol", 'note "$@"')
  job = subprocess.Popen(batch, env=command.environment)
  while not os.path.exists(command.environment["COUNT"]):
    assert job.poll() is None
  job.send_signal(signal.SIGTERM)
  assert job.wait(60) == 143
  assert command.notes() == ["d2v train", "told", "saved", "requeue 7"]


# Cloud TPU


BEGUN = ["delete d2v", "create d2v --accelerator-type=v4-32", "install"]
GCLOUD = """
shift 3  # compute tpus tpu-vm
case $1 in
  describe) if [[ -e $COUNT ]]; then echo READY; else exit 1; fi ;;
  create) note create $2 $4; touch "$COUNT" ;;
  delete) note delete $2; rm -f "$COUNT" ;;
  ssh)
    case $* in
      *"git clone"*) note install ;;
      *)
        read -r end < "$COUNT.ends"
        sed -i 1d "$COUNT.ends"
        note run $end
        case $end in
          gone) rm "$COUNT"; exit 1 ;;  # a preempted slice, and its machines
          *) printf 'some line\\nd2v_status=%s\\n' ${end//,/ } ;;
        esac ;;
    esac ;;
esac
"""


@pytest.mark.parametrize(
  ("ends", "status", "notes"),
  [
    (["0,0"], 0, ["run 0,0"]),
    (
      ["143,143", "75,134", "0,0"],
      0,
      ["run 143,143", "run 75,134", "run 0,0"],
    ),
    (["75,2", "0"], 2, ["run 75,2"]),
    (["3,75", "0"], 3, ["run 3,75"]),
    (
      ["gone", "0,0"],
      0,
      ["run gone", *BEGUN, "run 0,0"],
    ),
  ],
)
def test_a_tpu_job_goes_on_until_it_is_over(command, ends, status, notes):
  command("gcloud", GCLOUD)
  with open(f"{command.environment['COUNT']}.ends", "w") as f:
    f.writelines(f"{end}\n" for end in ends)
  done = subprocess.run(
    ["bash", DOCS / "tpu_job.sh", "resume"],
    env=command.environment,
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.returncode == status, done.stderr
  assert command.notes() == BEGUN + notes


def test_what_must_be_named_is_asked_for(command):
  for name in ("CLONE", "BUCKET"):
    there = {k: v for k, v in command.environment.items() if k != name}
    done = subprocess.run(
      ["bash", DOCS / "tpu_job.sh", "create"],
      env=there,
      capture_output=True,
      text=True,
      timeout=60,
    )
    assert done.returncode != 0
    assert f"{name}: set it to" in done.stderr
