import io
import json
import math
import os
import shutil

import pytest
from etils import epath

from d2v_jax.training.logs import metrics
from tests.training.fake_clock import fake_clock


class Tty(io.StringIO):
  def isatty(self):
    return True


def write(workdir, start_step, *steps, **values):
  writer = metrics.Writer(epath.Path(workdir), start_step)
  for step in steps:
    writer.write(step, values or {"loss": step / 2})


def lines(workdir):
  return (workdir / "metrics.jsonl").read_text().splitlines()


def steps(workdir):
  return [json.loads(line)["step"] for line in lines(workdir)]


# Writer


def test_one_json_object_a_line_on_disk_at_once(tmp_path):
  writer = metrics.Writer(epath.Path(tmp_path), 0)
  writer.write(5, {"loss": 0.5, "knn/accuracy": 0.25})
  assert lines(tmp_path) == ['{"step": 5, "loss": 0.5, "knn/accuracy": 0.25}']
  writer.write(6, {"loss": 0.25})
  assert steps(tmp_path) == [5, 6]


def test_a_resumed_run_drops_what_it_repeats_and_keeps_the_rest(tmp_path):
  write(tmp_path, 0, 0, 2, 4, 6, 8)
  before = lines(tmp_path)[:3]
  write(tmp_path, 4, 6)
  assert steps(tmp_path) == [0, 2, 4, 6]
  assert lines(tmp_path)[:3] == before


def test_a_run_that_starts_again_at_zero_measures_step_zero_again(tmp_path):
  write(tmp_path, 0, 0, 1, 2)
  write(tmp_path, 0, 0)
  assert steps(tmp_path) == [0]


@pytest.mark.parametrize(
  "torn", ['{"step": 3, "lo', '{"step": 3, "loss": 1.5}', '{"step', "{"]
)
def test_a_line_cut_off_by_a_crash_is_dropped(tmp_path, torn):
  write(tmp_path, 0, 1, 2)
  with open(tmp_path / "metrics.jsonl", "a") as f:
    f.write(torn)
  write(tmp_path, 8, 9)
  assert steps(tmp_path) == [1, 2, 9]


@pytest.mark.parametrize("damaged", ["", "[]", "null", "7", "{}", '{"a": 1}'])
def test_a_damaged_line_is_dropped(tmp_path, damaged):
  (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1}}\n{damaged}\n')
  write(tmp_path, 8, 9)
  assert steps(tmp_path) == [1, 9]


@pytest.mark.parametrize(
  "damaged", [b"\xff\xfe\x00", b'{"step": 1, "loss": "\xe9"}', b"x" * 9]
)
def test_broken_bytes_are_set_aside_and_said(tmp_path, damaged):
  path = tmp_path / "metrics.jsonl"
  content = b'{"step": 1}\n' + damaged + b'\n{"step": 2}\n{"step": 3'
  path.write_bytes(content)
  told = []
  writer = metrics.Writer(epath.Path(tmp_path), 8, told.append)
  writer.write(9, {"loss": 0.5})
  assert steps(tmp_path) == [1, 2, 9]
  assert (tmp_path / "metrics.jsonl.damaged").read_bytes() == content
  assert told == [
    f"{path} is damaged: 1 of 3 lines cannot be read and are lost; set aside "
    "as metrics.jsonl.damaged, the others are kept"
  ]


def test_a_folder_in_its_place_is_set_aside_and_said(tmp_path):
  (tmp_path / "metrics.jsonl").mkdir()
  told = []
  metrics.Writer(epath.Path(tmp_path), 8, told.append)
  assert lines(tmp_path) == []
  (text,) = told
  assert text.endswith("metrics.jsonl: metrics.jsonl.damaged")


def test_a_line_that_is_not_complete_is_reopened(tmp_path):
  write(tmp_path, 0, 4, 6, 8)
  writer = metrics.Writer(epath.Path(tmp_path), 6, reopen=True)
  assert writer.reopened == {"loss": 3.0}
  assert steps(tmp_path) == [4]
  assert metrics.at(epath.Path(tmp_path), 4) == {"step": 4, "loss": 2.0}
  assert metrics.at(epath.Path(tmp_path), 5) == {}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_json_has_no_number_for_are_left_out(tmp_path, value):
  write(tmp_path, 0, 1, loss=value, lr=0.5)
  assert lines(tmp_path) == ['{"step": 1, "lr": 0.5}']


# Terminal

VALUES = {
  "loss": 0.123456,
  "target_std": 0.5,
  "prediction_std": 0.25,
  "lr": 1e-3,
  "ema_decay": 0.999,
  "grad_norm": 3.0,
}
LINE = "loss 0.1235  target_std 0.5  prediction_std 0.25  lr 0.001"
LINE += "  ema_decay 0.999"


def test_plain_lines_when_the_output_is_no_terminal():
  out = io.StringIO()
  terminal = metrics.Terminal(100, out)
  terminal.progress(1, VALUES, math.nan)
  speed = {"examples_per_sec": 1234.5, "peak_fraction": 0.4, "input_wait": 0.06}
  terminal.progress(2, {**VALUES, **speed}, 3725.0)
  terminal.message("a word")
  measured = {"rank/test": 3.0, "knn/best_layer": 2.0, "knn/accuracy": 0.987654}
  terminal.evaluation(2, measured)
  terminal.close()
  assert out.getvalue().splitlines() == [
    f"step 1/100  {LINE}",
    f"step 2/100  ETA 1:02:05  {LINE}  1234 examples/s  40.0% of peak  "
    "6% waiting for input",
    "a word",
    "evaluation at step 2:  knn/accuracy 0.9877  rank/test 3",
  ]


def test_a_terminal_has_one_live_line(monkeypatch):
  monkeypatch.setattr(
    shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((200, 24))
  )
  out = Tty()
  terminal = metrics.Terminal(100, out)
  terminal.progress(1, VALUES, math.nan)
  terminal.progress(2, VALUES, 61.0)
  clear = "\r\x1b[2K"
  live = f"{clear}step 1/100  {LINE}{clear}step 2/100  ETA 0:01:01  {LINE}"
  assert out.getvalue() == live
  terminal.message("a word")
  terminal.progress(3, {"loss": 1.0}, math.nan)
  terminal.close()
  terminal.close()
  rest = f"\na word\n{clear}step 3/100  loss 1\n"
  assert out.getvalue() == live + rest


def test_the_live_line_does_not_wrap(monkeypatch):
  monkeypatch.setattr(
    shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((30, 24))
  )
  out = Tty()
  metrics.Terminal(100, out).progress(1, VALUES, 61.0)
  shown = out.getvalue().removeprefix("\r\x1b[2K")
  assert len(shown) == 29
  assert shown.startswith("step 1/100  ETA 0:01:01  loss")


def test_what_goes_on_is_gone_when_something_is_said(monkeypatch):
  monkeypatch.setattr(
    shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((30, 24))
  )
  out = Tty()
  terminal = metrics.Terminal(100, out)
  terminal.progress(1, {"loss": 1.0}, math.nan)
  terminal.activity("evaluating: 0 of 1,000 examples of train")
  terminal.activity("evaluating: knn")
  terminal.evaluation(1, {"knn/accuracy": 0.5})
  terminal.activity("evaluating: linear_probe")
  terminal.progress(2, {"loss": 1.0}, math.nan)
  terminal.activity("evaluating: wer")
  terminal.close()
  clear = "\r\x1b[2K"
  assert out.getvalue() == (
    f"{clear}step 1/100  loss 1\n"
    f"{clear}evaluating: 0 of 1,000 exampl{clear}evaluating: knn"
    f"{clear}evaluation at step 1:  knn/accuracy 0.5\n"
    f"{clear}evaluating: linear_probe{clear}step 2/100  loss 1\n"
    f"{clear}evaluating: wer{clear}"
  )


def test_without_a_terminal_what_goes_on_is_told_once_a_minute(monkeypatch):
  clock = fake_clock(monkeypatch, metrics, "monotonic", 0.0)
  out = io.StringIO()
  terminal = metrics.Terminal(100, out)
  for second in range(0, 200, 10):
    clock.now = float(second)
    terminal.activity(f"evaluating: {second}")
    if second == 90:
      terminal.message("a word")
  assert out.getvalue().splitlines() == [
    "evaluating: 60",
    "a word",
    "evaluating: 150",
  ]


@pytest.mark.parametrize("stream", [io.StringIO, Tty])
def test_a_quiet_one_prints_nothing(stream):
  out = stream()
  terminal = metrics.Terminal(100, out, quiet=True)
  terminal.progress(1, VALUES, 61.0)
  terminal.message("a word")
  terminal.activity("evaluating: knn")
  terminal.evaluation(2, {"knn/accuracy": 0.5})
  terminal.close()
  assert out.getvalue() == ""


def test_the_default_stream_is_standard_output(capsys):
  metrics.Terminal(100).message("a word")
  assert capsys.readouterr().out == "a word\n"
