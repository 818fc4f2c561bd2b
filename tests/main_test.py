"""The command line as its user sees it."""

import importlib.util
import json
import subprocess
import sys

import pytest

from d2v_jax import exit_status, main
from tests import runs


@pytest.fixture
def refused(tmp_path, capsys):
  """Runs it, expects one clear message on stderr; returns the message."""

  def refused(*arguments, config=runs.TINY, workdir=None):
    own = [] if config is None else [f"--config={config}"]
    workdir = tmp_path / "run" if workdir is None else workdir
    status = main.main([*own, f"--workdir={workdir}", *arguments])
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert err.count("error") == 1
    return err.removeprefix("error: ").removesuffix("\n")

  return refused


@pytest.fixture
def usage_error(capsys):
  """The same for a command line that argparse refuses."""

  def usage_error(*arguments):
    with pytest.raises(SystemExit) as e:
      main.main(list(arguments))
    assert e.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: python -m d2v_jax.main ")
    return err.splitlines()[-1].removeprefix("python -m d2v_jax.main: error: ")

  return usage_error


# --help


def test_help_lists_exit_statuses_and_does_not_import_jax(tmp_path):
  (tmp_path / "jax.py").write_text("raise ImportError('jax was imported')")
  done = subprocess.run(
    [sys.executable, "-m", "d2v_jax.main", "--help"],
    cwd=runs.ROOT,
    env=runs.environment() | {"PYTHONPATH": str(tmp_path)},
    capture_output=True,
    text=True,
    timeout=runs.TIMEOUT,
  )
  assert (done.returncode, done.stderr) == (0, "")
  for word in ("--config FILE", "--workdir DIR", "--mode", "--coordinator"):
    assert word in done.stdout
  statuses = done.stdout[done.stdout.index("Exit status:") :]
  for status, what, todo in exit_status.TABLE:
    assert f"  {status:12}{what}: {todo}\n" in statuses


# Flags


def test_workdir_is_needed(usage_error):
  message = usage_error("--config=configs/digits.py")
  assert message == "the following arguments are required: --workdir"


def test_training_needs_a_config(usage_error, tmp_path):
  message = usage_error(f"--workdir={tmp_path}")
  assert message == "--mode=train needs --config, e.g. configs/digits.py"


def test_unknown_mode(usage_error):
  message = usage_error("--workdir=x", "--mode=test")
  assert "invalid choice: 'test' (choose from" in message


@pytest.mark.parametrize("junk", ["junk", "--total_steps=3", "--work=x"])
def test_what_is_no_flag(usage_error, junk):
  message = usage_error("--workdir=x", "--config=y", junk)
  assert message == f"unrecognized arguments: {junk}"


def test_an_override_needs_a_value(usage_error):
  message = usage_error("--workdir=x", "--config=y", "--config.seed")
  assert message == "--config.seed needs a value: --config.seed=VALUE"


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--num_processes=2"], "go together: give all three"),
    (["--coordinator=a:1", "--process_id=0"], "go together: give all three"),
    (
      ["--coordinator=a:1", "--num_processes=2", "--process_id=2"],
      "--process_id=2 must be 0 to --num_processes - 1 = 1",
    ),
    (["--distributed", "--process_id=0"], "--distributed finds the hosts"),
    (["--peer_timeout=0"], "--peer_timeout must be 1 or more, got 0"),
  ],
)
def test_flags_of_several_hosts(usage_error, flags, message):
  assert message in usage_error("--workdir=x", "--config=y", *flags)


def test_how_long_a_silent_process_is_waited_for(refused, monkeypatch):
  import jax

  def initialize(*hosts, heartbeat_timeout_seconds):
    raise ValueError(f"{hosts} within {heartbeat_timeout_seconds} s")

  monkeypatch.setattr(jax.distributed, "initialize", initialize)
  flags = ("--coordinator=a:1", "--num_processes=2", "--process_id=1")
  assert refused(*flags, "--peer_timeout=7") == "('a:1', 2, 1) within 7 s"


# Config files


def test_a_config_that_does_not_exist(refused):
  message = refused(config="tests/configs/tini.py")
  assert "no config file tests/configs/tini.py" in message
  assert "in that folder are: " in message
  assert "tests/configs/tiny.py" in message


@pytest.mark.parametrize("path", ["tests", "pyproject.toml", "nowhere/x"])
def test_a_config_that_is_no_python_file(refused, path):
  message = refused(config=path)
  assert f"no config {path!r}" in message
  assert "; give a file that ends in .py, or one of: " in message
  assert "digits, " in message


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("def get_config(:", "SyntaxError: "),
    ("import nothing_such", "No module named 'nothing_such'"),
    ("x = 1", "it has no function get_config()"),
    ("def get_config(): return 1 / 0", "ZeroDivisionError: "),
    (
      "def get_config(): return {}",
      "get_config() must return an ml_collections.ConfigDict, got dict",
    ),
  ],
)
def test_a_broken_config_file(refused, tmp_path, text, message):
  path = tmp_path / "broken.py"
  path.write_text(text)
  told = refused(config=path)
  assert str(path) in told
  assert message in told


def test_a_config_without_required_fields(refused, tmp_path):
  path = tmp_path / "empty.py"
  path.write_text(
    "import ml_collections\n"
    "def get_config(): return ml_collections.ConfigDict({'seed': 0})\n"
  )
  message = refused(config=path)
  assert message.startswith("config: missing fields: total_steps, batch_size,")


# Fields: (override, all of what the message must say)

WRONG = {
  # names of fields
  "total_step=3": ["config.total_step: unknown", "mean 'total_steps'?"],
  "encoder.dropPath=0.1": ["config.encoder.dropPath", "mean 'drop_path'?"],
  "objective.targets.topk=1": [
    "config.objective.targets.topk",
    "mean 'top_k'?",
  ],
  "objective.head.layer=1": ["config.objective.head.layer", "'layers'?"],
  "data.sorce.path=x": ["config.data.sorce: unknown field", "'source'?"],
  "data.source.path=x": ["config.data.source.path: unknown", "split"],
  "data.mask.max_blocks=3": ["config.data.mask.max_blocks", "'max_block'?"],
  "optimizer.weight_deca=0": ["config.optimizer.weight_deca", "'weight_decay'"],
  "schedule.warmup=3": ["config.schedule.warmup", "'warmup_steps'?"],
  "evaluation.evry=3": ["config.evaluation.evry", "'every'?"],
  "evaluation.evaluators.knn.kk=3": [
    "config.evaluation.evaluators.knn.kk: unknown",
    "choose from: features, holdout, k, temperature",
  ],
  "checkpoints.keep=3": ["config.checkpoints.keep", "keep_latest"],
  "health.patient=3": ["config.health.patient", "'patience'?"],
  "profile=dict(begin=3)": ["config.profile.begin: unknown", "start, steps"],
  "seed.x=3": ["config.seed: it is 0, and has no 'x'"],
  # types
  "total_steps=abc": ["config.total_steps: got 'abc'", "it is int (now 12)"],
  "total_steps=1.5": ["config.total_steps: got '1.5'", "it is int"],
  "encoder=3": ["config.encoder: got '3', but it is a section"],
  "encoder=vit": ["config.encoder: got 'vit', but it is a section"],
  "encoder.drop_path=abc": ["config.encoder.drop_path: got 'abc'", "a float"],
  "encoder.cls_token=1": ["config.encoder.cls_token: got 1", "True or False"],
  "encoder.depth=None": ["config.encoder.depth: got None", "an int"],
  "optimizer.b1='x'": ["config.optimizer.b1: got 'x'", "a float"],
  "accumulate=2.0": ["config.accumulate: got 2.0", "an int"],
  "num_devices=x": ["config.num_devices: got 'x'", "an int or None"],
  "profile=3": ["config.profile: got 3", "a section or None"],
  "profile=dict(start=1.5, steps=1)": ["config.profile.start: got 1.5", "int"],
  "objective.targets.average_norms=layer": [
    "average_norms: got 'layer'",
    "a tuple",
  ],
  "data.num_workers=x": ["config.data.num_workers: got 'x'", "an int"],
  "checkpoints=3": ["config.checkpoints: got 3", "a section"],
  "evaluation=None": ["config.evaluation: got None", "a section"],
  # names of things
  "modality=smell": ["config.modality: unknown 'smell'", "vision"],
  "objective.name=data2vce": [
    "config.objective.name: unknown 'data2vce'",
    "did you mean 'data2vec'?",
  ],
  "data.source.name=digit": ["config.data.source.name", "folder", "'digits'?"],
  "data.mask.name=block": [
    *("config.data.mask.name", "random_patches", "'beit_blocks'?"),
  ],
  "schedule.name=cosin": ["config.schedule.name", "tri_stage", "'cosine'?"],
  "sharding=fdsp": ["config.sharding: unknown 'fdsp'", "replicated, fsdp"],
  "evaluation.evaluators.nn={}": [
    "config.evaluation.evaluators.nn: unknown field",
    "knn, layer_curve",
  ],
  "objective.targets.output=fnn": [
    "unknown output 'fnn'",
    "block, ffn, attention",
  ],
  "encoder.positions=rel": [
    "unknown positions 'rel'",
    "relative, relative_layers",
  ],
  "objective.ema.schedule=x": ["config.objective.ema: Ema: unknown schedule"],
  "data.source.split=dev": ["config.data.source", "unknown split 'dev'"],
  # values
  "total_steps=0": ["config.total_steps must be 1 or more, got 0"],
  "batch_size=12": ["config.batch_size 12", "8 devices; change one"],
  "num_devices=99": ["asked for 99 devices, JAX sees 8"],
  "encoder.image_size=9": ["image_size 9 is not a multiple", "patch_size 2"],
  "encoder.num_heads=3": ["width 16 is not a multiple of num_heads 3"],
  "encoder.mean=(0.1,0.2)": ["mean has 2 values for 1 channels"],
  "objective.targets.top_k=3": [
    "top_k must be between 1 and the 2 layers",
    "got 3",
  ],
  "data.mask.num_masked=16": ["config.data", "16"],
  "data.channels=2": ["1 channels, not 2 as config.data.channels=2 says"],
  "data.num_threads=0": ["config.data: ", "num_threads must be 1 to 1024"],
  "schedule.warmup_steps=13": ["config.schedule: cosine", "total_steps 12"],
  "evaluation.test=None": ["both a `train` and a `test`", "['train']"],
  "checkpoints.keep_latest=0": ["keep_latest must be >= 1, got 0"],
  "health.patience=0": ["config.health.patience must be 1 or more, got 0"],
  "profile=dict(start=0, steps=1)": ["config.profile: start must be 1 or more"],
  "profile=dict(start=1, steps=0)": ["config.profile: steps must be 1 or more"],
  "profile=dict(start=9, steps=5)": [
    "config.profile: got steps 9 to 13",
    "config.total_steps=12",
  ],
}


@pytest.mark.parametrize("override", WRONG)
def test_a_wrong_field(refused, override):
  message = refused(f"--config.{override}")
  for part in WRONG[override]:
    assert part in message
  assert len(message.splitlines()) == 1


def test_a_data_folder_that_does_not_exist(refused, tmp_path):
  source = {"name": "folder", "path": str(tmp_path / "images")}
  message = refused(f"--config.data.source={source}")
  assert message.startswith("config.data.source: ImageFolder: ")
  assert f"'{tmp_path}/images' is not a folder; check the path" in message


def test_a_data_folder_without_images(refused, tmp_path):
  source = {"name": "folder", "path": str(tmp_path)}
  message = refused(f"--config.data.source={source}")
  assert f"no images in '{tmp_path}' or below it; files must end" in message


@pytest.mark.parametrize("builder", ["mnist", "no_such_data"])
def test_tfds_data_that_is_not_prepared(refused, tmp_path, builder):
  pytest.importorskip("tensorflow_datasets")
  source = {
    "name": "tfds",
    "builder": builder,
    "split": "train",
    "data_dir": str(tmp_path),
  }
  message = refused(f"--config.data.source={source}")
  assert f"'{builder}' is not prepared in array_record format" in message
  assert "download_and_prepare()" in message


def test_an_unknown_evaluator_argument_is_found_before_anything_is_written(
  refused, tmp_path
):
  refused("--config.evaluation.evaluators.knn.k=0")
  assert list((tmp_path / "run").iterdir()) == []


# Workdirs


@pytest.mark.skipif(
  importlib.util.find_spec("gcsfs") is not None, reason="gcsfs is installed"
)
def test_a_bucket_without_its_package(refused):
  message = refused(workdir="gs://bucket/run")
  assert message.startswith("cannot write to the workdir gs://bucket/run: ")
  assert message.endswith("install d2v_jax with the extra `gcs`.")


@pytest.mark.parametrize("mode", ["train", "evaluate"])
def test_an_empty_workdir_is_not_this_folder(
  refused, tmp_path, monkeypatch, mode
):
  config = str(runs.ROOT / runs.TINY)
  monkeypatch.chdir(tmp_path)
  message = refused(f"--mode={mode}", config=config, workdir="")
  assert message.startswith("the workdir is empty")
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("inside", ["", "/below"])
def test_a_workdir_that_cannot_be_written(refused, tmp_path, inside):
  (tmp_path / "file").write_text("")
  workdir = f"{tmp_path}/file{inside}"
  message = refused(workdir=workdir)
  assert message.startswith(f"cannot write to the workdir {workdir}: ")
  assert message.endswith("choose another folder.")


def test_init_from_needs_a_run(refused, tmp_path):
  message = refused(f"--config.init_from={tmp_path}/no_run")
  assert "config.init_from must be the workdir of a run" in message
  assert f"{tmp_path}/no_run" in message


def test_evaluate_needs_a_run(refused, tmp_path):
  message = refused("--mode=evaluate", config=None)
  assert f"{tmp_path}/run has no run.json" in message
  assert "check the path" in message
  assert not (tmp_path / "run").exists()


def test_evaluate_needs_a_checkpoint(refused, tmp_path):
  message = refused("--mode=evaluate")
  assert f"no checkpoint in {tmp_path}/run/checkpoints" in message


def test_evaluate_a_damaged_record(refused, tmp_path):
  (tmp_path / "run").mkdir()
  (tmp_path / "run" / "run.json").write_text("{")
  message = refused("--mode=evaluate", config=None)
  assert f"{tmp_path}/run/run.json is damaged" in message


# A run


@pytest.mark.slow
def test_a_run_in_plain_lines(tmp_path):
  status, out, err = runs.run(
    "--config.total_steps=4",
    "--config.objective.ema.anneal_steps=100%",
    "--config.log_every=2",
    "--config.encoder.drop_path=0.1",
    "--config.accumulate",
    "2",
    "--config.health.patience=50",
    "--config.evaluation.evaluators.effective_rank=None",
    workdir=tmp_path / "run",
  )
  assert status == 0, err
  assert err == ""
  lines = out.splitlines()
  assert [line.split("  ")[0] for line in lines[:6]] == [
    "looked at 64 of 1,297 records of config.data.source, 64 of 500 records of "
    "config.evaluation.test: 0 findings",
    "compiling the step for inputs of 16 x 8 x 8 x 1",
    "evaluation at step 0:",
    "step 2/4",
    "step 4/4",
    "evaluation at step 4:",
  ]
  said = [line.split(":")[0].split(" at step")[0] for line in lines[6:]]
  run = str(tmp_path / "run")
  assert said == [
    run,
    "  loss",
    "  knn",
    "  curves",
    "next, pictures, nearest neighbours, and features of your files",
    f"  d2v report {run}",
    f"  d2v features --run={run} --input=FILES --output=features.npz",
  ]
  assert "\r" not in out
  assert "\x1b" not in out
  names = {p.name for p in (tmp_path / "run").iterdir()}
  assert {"run.json", "metrics.jsonl", "checkpoints"} <= names
  record = json.loads((tmp_path / "run" / "run.json").read_text())
  assert record["config"]["encoder"]["drop_path"] == 0.1
  assert record["config"]["accumulate"] == 2
  assert record["config"]["health"] == {"every": 0, "patience": 50}
  assert record["starts"][0]["devices"] == "1 x cpu"


def test_a_run_from_another_ones_weights(tmp_path, capsys):
  old, new = tmp_path / "old", tmp_path / "new"
  arguments = [
    f"--config={runs.TINY}",
    "--config.total_steps=2",
    "--config.num_devices=1",
    "--config.schedule.warmup_steps=1",
    "--config.evaluation.evaluators=None",
  ]
  assert main.main([*arguments, f"--workdir={old}"]) == 0
  arguments += [f"--workdir={new}", "--config.seed=1"]
  # The first update of a warm-up has rate 0.
  arguments += ["--config.total_steps=1"]
  assert main.main([*arguments, f"--config.init_from={old}"]) == 0
  (_, given), (_, started) = runs.state(old), runs.state(new)
  (line,) = runs.metrics(new)
  assert line["step"] == 1
  decay = line["ema_decay"]
  for name, student in given.items():
    if name.startswith("params"):
      assert (student == started[name]).all(), name
      # The teacher goes on from the old one, and has moved once.
      name = name.replace("params", "teacher_params", 1)
      teacher = decay * given[name] + (1 - decay) * student
      assert abs(teacher - started[name]).max() <= 1e-6


def test_the_traceback_is_there_when_asked_for(tmp_path, monkeypatch):
  monkeypatch.setenv("D2V_TRACEBACK", "1")
  with pytest.raises(ValueError, match=r"config\.total_steps must be"):
    main.main(
      [
        f"--config={runs.TINY}",
        f"--workdir={tmp_path}",
        "--config.total_steps=0",
      ]
    )
