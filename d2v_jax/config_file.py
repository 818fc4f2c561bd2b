"""Config files: which one, what it says, and what the command line changes."""

import ast
import difflib
import pathlib
from typing import Any

import ml_collections

from d2v_jax import project_imports, run_shares
from d2v_jax.config import ConfigError
from d2v_jax.deriving import marks


def load(name: str) -> ml_collections.ConfigDict:
  """Runs a config file's get_config(), or get_config(x) for `NAME:x`.

  The folder above the file's own and the working folder are importable while
  it runs, so that configs/vit_large.py can start from configs/vit_base.py.
  What it imports from there is read anew by each load.

  Args:
    name: one of ours, such as 'vit_small' or 'finetune_glue:rte', or the path
      of a file that ends in .py.

  Raises:
    ConfigError: there is no such file or it does not give a config.
  """
  file, argument = find(name)
  try:
    with project_imports.executed(file) as module:
      if not hasattr(module, "get_config"):
        raise ValueError("it has no function get_config()")
      config = module.get_config(*filter(None, [argument]))
  except SystemExit as e:
    # Whatever the status: a file that leaves has not given a config.
    raise ConfigError(
      f"config file {file} failed: it calls sys.exit({e.code!r}); remove that."
    ) from e
  except Exception as e:
    raise ConfigError(
      f"config file {file} failed: {type(e).__name__}: {e}"
    ) from e
  if not isinstance(config, ml_collections.ConfigDict):
    raise ConfigError(
      f"{file}: get_config() must return an ml_collections.ConfigDict, got "
      f"{type(config).__name__}."
    )
  return config


def find(name: str) -> tuple[pathlib.Path, str]:
  """The file of a config's name or path, and what stands after its colon.

  Raises:
    ConfigError: there is none.
  """
  path, _, argument = name.partition(".py:")
  if argument or path.endswith(".py"):
    file = pathlib.Path(path.removesuffix(".py") + ".py")
    if file.is_file():
      return file, argument
    near = sorted(str(p) for p in file.parent.glob("*.py"))
    hint = f"; in that folder are: {', '.join(near)}" if near else ""
    raise ConfigError(f"there is no config file {file}{hint}.")
  path, _, argument = name.partition(":")
  ours = sorted(p.stem for p in project_imports.CONFIGS.glob("*.py"))
  if path in ours:
    return project_imports.CONFIGS / f"{path}.py", argument
  close = difflib.get_close_matches(path, ours, n=1)
  hint = f" (did you mean {close[0]!r}?)" if close else ""
  raise ConfigError(
    f"there is no config {path!r}{hint}; give a file that ends in .py, or one "
    f"of: {', '.join(ours)}."
  )


def override(config: ml_collections.ConfigDict, path: str, text: str) -> None:
  """Sets config.<path> to a value given as text, in place.

  A field of the config keeps its type. A field or a section that the config
  leaves to its constructor's default may be set too; a wrong name is found when
  it is built.

  Args:
    config: the config.
    path: e.g. 'encoder.drop_path'.
    text: a Python literal, a section as dict(field=literal, ...), or a string.

  Raises:
    ConfigError: for a path through something that is not a section, a value
      of another type, or none.
  """
  *sections, field = path.split(".")
  where = "config"
  node = config
  for section in sections:
    if node.get(section) is None:
      with node.ignore_type():
        node[section] = ml_collections.ConfigDict()
    node, where = node[section], f"{where}.{section}"
    if not isinstance(node, ml_collections.ConfigDict):
      raise ConfigError(f"{where}: it is {node!r}, and has no {field!r}.")
  if not text.strip():
    raise ConfigError(
      f"{where}.{field}: got nothing, as from a shell's variable that is not "
      "set; give a value, or '' with its quotes for an empty text."
    )
  value = _value(text)
  old = node.get(field)
  if old == marks.DERIVED:
    old = None  # whose type is told where it is built
  if isinstance(old, float) and type(value) is int:
    value = float(value)
  counts = run_shares.is_length(field) and (
    isinstance(value, int) or run_shares.is_share(value)
  )
  if isinstance(old, str) and value is not None and not counts:
    value = value if isinstance(value, str) else text
  if isinstance(old, list | tuple) and isinstance(value, list | tuple):
    value = tuple(value)
    old = tuple(old)
  if isinstance(old, ml_collections.ConfigDict):
    fits, kind = isinstance(value, dict), "a section"
  else:
    fits, kind = type(old) is type(value), f"{type(old).__name__} (now {old!r})"
    if run_shares.is_length(field):
      fits = counts and type(value) is not bool
      kind = f"updates, as a number or a share such as '10%' (now {old!r})"
  # None takes a section or a value out.
  if not (fits or old is None or value is None):
    raise ConfigError(
      f"{where}.{field}: got {text!r}, but it is {kind}; give a value of that "
      "type."
    )
  with node.ignore_type():
    node[field] = value


def _value(text: str) -> Any:
  """What a text stands for; itself if it is nothing else."""
  try:
    node = ast.parse(text.strip(), mode="eval").body
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "dict":
      if node.args or None in {field.arg for field in node.keywords}:
        return text
      return {str(x.arg): ast.literal_eval(x.value) for x in node.keywords}
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return {"true": True, "false": False}.get(text.lower(), text)
