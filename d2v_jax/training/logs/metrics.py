"""Where numbers go: the terminal and metrics.jsonl."""

import json
import math
import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from etils import epath

from d2v_jax import storage
from d2v_jax.training.logs import metric_names
from d2v_jax.training.workdir import side_files

Values = dict[str, float]

# Between two plain lines of what goes on, where nothing can be overwritten.
_SILENCE = 60.0
_CLEAR = "\r\x1b[2K"
_LINE = ("loss", "target_std", "prediction_std", "lr", "ema_decay")
_SPEED = {
  "examples_per_sec": "{:.4g} examples/s",
  "peak_fraction": "{:.1%} of peak",
  "input_wait": "{:.0%} waiting for input",
}


class Writer:
  """Writes one object a line to metrics.jsonl.

  A resumed run continues the file: lines of steps after `start_step`, and a
  line that was cut off, are dropped first, because those steps run again.

  Args:
    workdir: where the file is.
    start_step: of the checkpoint that the run goes on from.
    tell: is called with what of the file could not be kept.
    reopen: whether the line of `start_step` is still to be completed.

  Attributes:
    reopened: what that line holds.
  """

  def __init__(
    self,
    workdir: epath.Path,
    start_step: int,
    tell: Callable[[str], None] = print,
    reopen: bool = False,
  ) -> None:
    self._path = workdir / "metrics.jsonl"
    # A run that starts at 0 measures step 0 again, too.
    found = _read(self._path, tell) if start_step else []
    kept = [values for values in found if values["step"] <= start_step]
    self.reopened: Values = {}
    if reopen and kept and kept[-1]["step"] == start_step:
      self.reopened = {k: v for k, v in kept.pop().items() if k != "step"}
    self._lines = [_line(values) for values in kept]
    side_files.replace(self._path, "".join(self._lines))
    # Buckets cannot append: there the whole (small) file is written again.
    self._local = not storage.in_bucket(workdir)

  def write(self, step: int, values: Values) -> None:
    """Appends {"step": step, **values}; the line is on disk on return.

    Values that are not finite are left out: JSON has no such numbers.
    """
    values = {k: v for k, v in values.items() if math.isfinite(v)}
    line = _line({"step": step, **values})
    self._lines.append(line)
    if self._local:
      with open(self._path, "a") as f:
        f.write(line)
    else:
      side_files.replace(self._path, "".join(self._lines))


def lines(workdir: epath.Path) -> list[Values]:
  """The lines of metrics.jsonl, as far as they can be read."""
  return _parsed(workdir / "metrics.jsonl")[0]


def at(workdir: epath.Path, step: int) -> Values:
  """What metrics.jsonl says of a step, as far as it can be read."""
  every = [x for x in lines(workdir) if x["step"] == step]
  return every[-1] if every else {}


def keep_a_copy(workdir: epath.Path, folder: epath.Path) -> None:
  """Copies metrics.jsonl, of which a run that goes back drops the end."""
  try:
    content = (workdir / "metrics.jsonl").read_bytes()
  except (FileNotFoundError, IsADirectoryError):
    return
  folder.mkdir(parents=True, exist_ok=True)
  target, n = folder / "metrics.jsonl", 0
  while target.exists():
    n += 1
    target = folder / f"metrics-{n}.jsonl"
  target.write_bytes(content)


def _read(path: epath.Path, tell: Callable[[str], None]) -> list[Values]:
  """The lines of the file, which is set aside if some cannot be read."""
  if path.is_dir():
    tell(f"set aside a folder in the place of {path}: {_aside(path)}")
    return []
  found, damaged = _parsed(path)
  if damaged:
    tell(
      f"{path} is damaged: {damaged} of {len(found) + damaged} lines cannot be "
      f"read and are lost; set aside as {_aside(path)}, the others are kept"
    )
  return found


def _aside(path: epath.Path) -> str:
  return side_files.set_aside(path).name


def _parsed(path: epath.Path) -> tuple[list[Values], int]:
  """The lines that can be read, and how many cannot; the last may be torn."""
  try:
    content = path.read_bytes()
  except (FileNotFoundError, IsADirectoryError):
    return [], 0
  *whole, _ = content.split(b"\n")
  found = []
  for line in whole:
    try:
      values = json.loads(line)
    except (ValueError, RecursionError):
      continue
    if isinstance(values, dict) and type(values.get("step")) is int:
      found.append(values)
  return found, len(whole) - len(found)


def _line(values: Values) -> str:
  return json.dumps(values) + "\n"


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
    self._fleeting = False
    self._spoke = time.monotonic()

  def progress(self, step: int, values: Values, eta: float) -> None:
    """Shows the metrics of a step; eta in seconds."""
    parts = [f"step {step}/{self._total}"]
    if math.isfinite(eta):
      parts.append(f"ETA {_duration(eta)}")
    parts += [f"{k} {values[k]:.4g}" for k in _LINE if k in values]
    parts += [_SPEED[k].format(values[k]) for k in _SPEED if k in values]
    line = "  ".join(parts)
    self._show(line)

  def activity(self, text: str) -> None:
    """Shows what goes on until the next line; plain lines once a minute."""
    if not self._live and time.monotonic() - self._spoke < _SILENCE:
      return
    if not self._fleeting:
      self.close()
    self._show(text)
    self._fleeting = self._live

  def message(self, text: str) -> None:
    """Prints a line of its own."""
    self.close()
    self._write(text + "\n")

  def evaluation(self, step: int, values: Values) -> None:
    """Prints the results of evaluators, without their settings and layers."""
    names = metric_names.results_first(list(values))
    parts = [f"{name} {values[name]:.4g}" for name in names]
    self.message(f"evaluation at step {step}:  " + "  ".join(parts))

  def close(self) -> None:
    """Ends the live line, so that what follows has its own."""
    if self._open:
      self._write(_CLEAR if self._fleeting else "\n")
      self._open = self._fleeting = False

  def _show(self, line: str) -> None:
    if self._live:
      # A line that wraps could not be overwritten.
      columns = shutil.get_terminal_size().columns
      self._write(_CLEAR + line[: columns - 1])
      self._open, self._fleeting = True, False
    else:
      self._write(line + "\n")

  def _write(self, text: str) -> None:
    self._spoke = time.monotonic()
    if not self._quiet:
      self._stream.write(text)
      self._stream.flush()


def _duration(length: float) -> str:
  minutes, seconds = divmod(int(length), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02}:{seconds:02}"
