"""Where numbers go: the terminal, metrics.jsonl and TensorBoard."""

import json
import math
import shutil
import sys
from typing import TextIO

from etils import epath

try:
  import tensorboardX
except ImportError:
  tensorboardX = None

Values = dict[str, float]

_LINE = ("loss", "target_std", "prediction_std", "lr", "ema_decay")
_SPEED = {
  "examples_per_sec": "{:.4g} examples/s",
  "peak_fraction": "{:.1%} of peak",
  "input_wait": "{:.0%} waiting for input",
}


class Writer:
  """Writes one object a line to metrics.jsonl, and TensorBoard if installed.

  A resumed run continues the file: lines of steps after `start_step`, and a
  line that was cut off, are dropped first, because those steps run again.
  """

  def __init__(self, workdir: epath.Path, start_step: int) -> None:
    self._path = workdir / "metrics.jsonl"
    # A run that starts at 0 measures step 0 again, too.
    self._lines = _lines_until(self._path, start_step) if start_step else []
    _replace(self._path, self._lines)
    # Buckets cannot append: there the whole (small) file is written again.
    self._local = "://" not in str(workdir)
    self._board = None
    if tensorboardX is not None and self._local:
      self._board = tensorboardX.SummaryWriter(
        str(workdir / "tensorboard"),
        purge_step=start_step + 1 if start_step else 0,
      )

  def write(self, step: int, values: Values) -> None:
    """Appends {"step": step, **values}; the line is on disk on return.

    Values that are not finite are left out: JSON has no such numbers.
    """
    values = {k: v for k, v in values.items() if math.isfinite(v)}
    line = json.dumps({"step": step, **values}) + "\n"
    self._lines.append(line)
    if self._local:
      with open(self._path, "a") as f:
        f.write(line)
    else:
      _replace(self._path, self._lines)
    if self._board is not None:
      for name, value in values.items():
        self._board.add_scalar(name, value, step)

  def close(self) -> None:
    """Closes TensorBoard's file."""
    if self._board is not None:
      self._board.close()


def _lines_until(path: epath.Path, step: int) -> list[str]:
  """Whole lines of steps up to this one."""
  lines = []
  if path.exists():
    for line in path.read_text().splitlines(keepends=True):
      try:
        complete = line.endswith("\n") and json.loads(line)["step"] <= step
      except (json.JSONDecodeError, KeyError, TypeError):
        complete = False
      if complete:
        lines.append(line)
  return lines


def _replace(path: epath.Path, lines: list[str]) -> None:
  temporary = path.parent / (path.name + ".tmp")
  temporary.write_text("".join(lines))
  temporary.replace(path)


class Terminal:
  """A live progress line; plain lines when the output is not a terminal.

  Args:
    total_steps: length of the run.
    stream: where to print; None: standard output.
    quiet: print nothing, as all processes but one do.
  """

  def __init__(
    self, total_steps: int, stream: TextIO | None = None, quiet: bool = False
  ) -> None:
    self._total = total_steps
    self._stream = stream or sys.stdout
    self._quiet = quiet
    self._live = self._stream.isatty()
    self._open = False

  def progress(self, step: int, values: Values, eta: float) -> None:
    """Shows the metrics of a step; eta in seconds."""
    parts = [f"step {step}/{self._total}"]
    if math.isfinite(eta):
      parts.append(f"ETA {_duration(eta)}")
    parts += [f"{k} {values[k]:.4g}" for k in _LINE if k in values]
    parts += [_SPEED[k].format(values[k]) for k in _SPEED if k in values]
    line = "  ".join(parts)
    if self._live:
      # A line that wraps could not be overwritten.
      columns = shutil.get_terminal_size().columns
      self._write("\r\x1b[2K" + line[: columns - 1])
      self._open = True
    else:
      self._write(line + "\n")

  def message(self, text: str) -> None:
    """Prints a line of its own."""
    self.close()
    self._write(text + "\n")

  def evaluation(self, step: int, values: Values) -> None:
    """Prints the results of evaluators."""
    parts = [f"{name} {value:.4g}" for name, value in values.items()]
    self.message(f"evaluation at step {step}:  " + "  ".join(parts))

  def close(self) -> None:
    """Ends the live line, so that what follows has its own."""
    if self._open:
      self._write("\n")
      self._open = False

  def _write(self, text: str) -> None:
    if not self._quiet:
      self._stream.write(text)
      self._stream.flush()


def _duration(length: float) -> str:
  minutes, seconds = divmod(int(length), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02}:{seconds:02}"
