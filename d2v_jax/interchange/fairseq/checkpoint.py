"""A file of fairseq or of the vision release, and what all its readers ask."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from etils import epath

from d2v_jax.data.table_files import numbered_lines
from d2v_jax.interchange.model import mlp_ratio
from d2v_jax.interchange.options import Options
from d2v_jax.interchange.weights import Arrays, InterchangeError

LICENCE = (
  "licence: fairseq's README puts its released speech and text models under "
  "MIT; whether this file is one of them is for you to know"
)
# How names begin of what PyTorch has wrapped a model in.
_WRAPPERS = ("module.", "_orig_mod.")
_SHOWN = 12


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """A training checkpoint, as it was read.

  Attributes:
    path: the file.
    arrays: the model's weights and buffers.
    averages: name in the model -> weights of an average, such as `_ema`.
    cfg: the whole configuration, or the old command line.
    model: its section on the model.
    task: its section on the task.
    kept: what the task kept, such as its dictionary.
    other: other top-level entries, such as `model_ema`.
    dictionary: a file or folder that the user names, or None.
    encoder_only: neither head nor objective is wanted.
  """

  path: epath.Path
  arrays: Arrays
  averages: dict[str, Arrays]
  cfg: Options
  model: Options
  task: Options
  kept: Mapping[str, Any]
  other: Mapping[str, Any]
  dictionary: epath.Path | None = None
  encoder_only: bool = False

  def error(self, reason: str) -> InterchangeError:
    """An error about this file."""
    return InterchangeError(f"{self.path}: {reason}.")

  def require_name(self, section: Options, *names: str) -> None:
    """Raises unless the section describes a model of one of these names."""
    name = model_name(section)
    if name is not None and name not in names:
      raise InterchangeError(
        f"{section.where} describes a {name!r}; of such files only those of "
        f"{' or '.join(names)} can be imported."
      )

  def require_known(self, *prefixes: str) -> None:
    """Raises if there are weights without any of these prefixes."""
    strange = [name for name in self.arrays if not name.startswith(prefixes)]
    if strange:
      more = len(strange) - _SHOWN
      raise self.error(
        f"unexpected weights ({len(strange)}): {', '.join(strange[:_SHOWN])}"
        + (f" and {more} more" if more > 0 else "")
      )

  def size(self, name: str, axis: int) -> int:
    """Length of a weight's axis, which says more than options do.

    Raises:
      InterchangeError: there is no such weight or axis.
    """
    array = self.arrays.get(name)
    if array is None:
      raise self.error(f"the weight {name} is missing")
    if array.ndim <= axis or not array.size:
      raise self.error(f"the weight {name} has shape {list(array.shape)}")
    return array.shape[axis]

  def mlp_ratio(self, fc1: str, width: int) -> float:
    """Hidden width of the feed-forward parts, weights [hidden, D], over D."""
    return mlp_ratio(self.size(fc1, 0), width)

  def symbols(self, task_key: str, *file_names: str) -> list[str] | None:
    """Symbols of a dictionary after its special ones, in order.

    From the file that the user names, else from the checkpoint itself, else
    from one of these files beside it; None if there is none.
    """
    path = self._beside(*file_names)
    stored = self.kept.get(task_key)
    if self.dictionary is None and isinstance(stored, Mapping):
      return self._stored_symbols(stored)
    if path is None and self.dictionary is not None:
      raise InterchangeError(
        f"{self.dictionary} is not a dictionary: give a file such as "
        f"{file_names[0]}, or a folder that has it."
      )
    return None if path is None else _read_dictionary(path)

  def _beside(self, *names: str) -> epath.Path | None:
    """The first such file: what the user names or has, else by the weights."""
    given = self.dictionary
    if given is not None and not given.exists():
      raise InterchangeError(f"the dictionary {given} does not exist.")
    if given is not None and not given.is_dir():
      return given
    folder = self.path.parent if given is None else given
    return next((folder / n for n in names if (folder / n).exists()), None)

  def _stored_symbols(self, stored: Mapping[str, Any]) -> list[str]:
    symbols, special = stored.get("symbols"), stored.get("nspecial", 4)
    if (
      not isinstance(symbols, list)
      or not all(isinstance(symbol, str) for symbol in symbols)
      or type(special) is not int
      or not 0 <= special <= 8
    ):
      raise self.error("its dictionary is damaged; give one: dictionary")
    return symbols[special:]


def model_name(section: Options) -> str | None:
  """Under which name fairseq registers the model that a section describes."""
  names = (section["_name"], section["arch"])
  return next((name for name in names if isinstance(name, str)), None)


def data2vec_objective(
  c: Options,
  *,
  output: str,
  tracked: tuple[str, ...],
  name: str = "data2vec",
  **parts: Any,
) -> dict[str, Any]:
  """config.objective of fairseq's data2vec models; `parts` are as they are."""

  def chosen(kinds: tuple[str, ...], option: str) -> tuple[str, ...]:
    return tuple(k for k in kinds if c.flag(f"{k}_norm_{option}", False))

  scaled = "loss_scale" in c
  return {
    "name": name,
    "targets": {
      "output": output,
      "top_k": c.integer("average_top_k_layers", 8, least=1, most=1000),
      "layer_norms": chosen(("batch", "instance", "layer"), "target_layer"),
      "average_norms": chosen(("layer", "instance"), "targets"),
      "norm_padding": True,
    },
    "loss_beta": c.number("loss_beta", 0.0),
    "loss_scale": c.number("loss_scale") if scaled else "rsqrt",
    **parts,
    "ema": {
      "start": c.number("ema_decay", 0.999),
      "end": c.number("ema_end_decay", 0.9999),
      "anneal_steps": c.integer("ema_anneal_end_step", 0, most=10**9),
      "tracked": tracked,
    },
  }


def without(prefix: str, arrays: Arrays) -> Arrays:
  """Arrays whose names have the prefix, under the rest of the name."""
  return {
    name.removeprefix(prefix): value
    for name, value in arrays.items()
    if name.startswith(prefix)
  }


def unwrapped(weights: Mapping[Any, Any]) -> dict[str, Any]:
  """Without what all names begin with where a model was wrapped.

  By what spreads it over devices, or compiles it; once, or one in the other.
  """
  named = {str(name): value for name, value in weights.items()}
  for prefix in _WRAPPERS * 2:
    if named and all(name.startswith(prefix) for name in named):
      named = {name.removeprefix(prefix): x for name, x in named.items()}
  return named


def _read_dictionary(path: epath.Path) -> list[str]:
  """Symbols of fairseq's dict.txt, whose lines are 'symbol count'."""
  symbols = []
  for number, line in numbered_lines(path):
    line = line.rstrip().removesuffix(" #fairseq:overwrite")
    symbol, _, count = line.rpartition(" ")
    if not symbol or not count.lstrip("-").isdigit():
      raise InterchangeError(
        f"{path}:{number}: {line[:80]!r} must be a symbol and its count."
      )
    symbols.append(symbol)
  return symbols
