"""Imports of a config file: from its own project, and fresh each time.

Python keeps one module of each name. But two projects may each have a folder
`configs`, and a file may change between two loads. So what a config imports
from its project is read anew, and forgotten when the config is made: imports
belong to the top of its files, not into functions that run later.
"""

import contextlib
import importlib.machinery
import pathlib
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

PACKAGE = pathlib.Path(__file__).parent

# The configs that come along: part of an installed package, and in a checkout
# the folder beside it. Any project may import them as `configs`.
SHIPPED = "configs"
CONFIGS = (
  PACKAGE / SHIPPED
  if (PACKAGE / SHIPPED).is_dir()
  else PACKAGE.parent / SHIPPED
)

# Never a project's, whatever files lie there.
_SHARED = {*sys.stdlib_module_names, PACKAGE.name, "__main__"}


@contextlib.contextmanager
def executed(file: pathlib.Path) -> Iterator[ModuleType]:
  """Runs a file as a module, and while it lasts imports find its project.

  That is the folder above the file's own, and then the working folder. Where
  neither has what is asked of `configs`, the configs that come along do.

  Args:
    file: a config, ending in .py.

  Raises:
    BaseException: whatever the file raises, SystemExit included.
  """
  above = file.resolve().parent.parent
  # The package's own modules have their names for themselves.
  roots = [above] if above != PACKAGE.resolve() else []
  name = f"config_{file.stem}"
  loader = _Source(name, str(file))
  module = ModuleType(name)
  module.__file__, module.__loader__ = str(file), loader
  with _isolated(name, [*roots, pathlib.Path.cwd()]):
    # Where dataclasses look for the names that annotations use.
    sys.modules[name] = module
    loader.exec_module(module)
    yield module


@contextlib.contextmanager
def _isolated(
  module_name: str, roots: Sequence[pathlib.Path]
) -> Iterator[None]:
  """Hides loaded modules of a project's names; in the end they are back."""
  tops = {_top(name) for name in sys.modules}
  tops = {module_name, *(top for top in tops if _belongs(top, roots))}
  hidden = {n: module for n, module in sys.modules.items() if _top(n) in tops}
  for name in hidden:
    del sys.modules[name]
  finder = _Finder(roots)
  sys.meta_path.insert(0, finder)
  try:
    yield
  finally:
    sys.meta_path.remove(finder)
    tops |= finder.served
    for name in [name for name in sys.modules if _top(name) in tops]:
      del sys.modules[name]
    sys.modules.update(hidden)


def _top(name: str) -> str:
  return name.partition(".")[0]


def _belongs(name: str, roots: Sequence[pathlib.Path]) -> bool:
  """Whether a top-level module that is loaded would hide a project's."""
  if name in _SHARED:
    return False
  if name == SHIPPED:
    return True
  if name in sys.modules and _is_installed(sys.modules[name]):
    return False
  return any(
    (root / name).is_dir() or (root / f"{name}.py").is_file() for root in roots
  )


def _is_installed(module: ModuleType) -> bool:
  file = getattr(module, "__file__", None)
  paths = [file] if file else getattr(module, "__path__", ())
  parts = {part for path in paths for part in pathlib.Path(path).parts}
  return not parts.isdisjoint(("site-packages", "dist-packages"))


class _Source(importlib.machinery.SourceFileLoader):
  """Compiles the source itself.

  What is in __pycache__ may be that of a file of the same size which was
  written in the same second.
  """

  def path_stats(self, path: Any) -> Any:
    raise OSError("no cache")


class _Finder:
  """Finds a project's modules, ahead of all others of their names."""

  def __init__(self, roots: Sequence[pathlib.Path]):
    self._roots = [str(root) for root in roots]
    self.served: set[str] = set()

  def find_spec(
    self, name: str, path: Sequence[str] | None = None, target: Any = None
  ) -> importlib.machinery.ModuleSpec | None:
    """As importlib.abc.MetaPathFinder's."""
    top = _top(name)
    if top in _SHARED or (path is not None and top not in self.served):
      return None
    spec = _spec(name, self._roots if path is None else path)
    if spec is not None:
      self.served.add(top)
    return spec


def _spec(name, folders):
  """Of the first module in the folders, or of all their folders together."""
  portions = []
  for folder in folders:
    loaders = (_Source, importlib.machinery.SOURCE_SUFFIXES)
    spec = importlib.machinery.FileFinder(folder, loaders).find_spec(name)
    if spec is not None and spec.loader is not None:
      return spec
    if spec is not None:
      portions += spec.submodule_search_locations
  if name == SHIPPED:
    portions.append(str(CONFIGS))
  elif portions and "." not in name:
    # A folder without __init__.py does not hide an installed package.
    usual = importlib.machinery.PathFinder.find_spec(name)
    if usual is not None and usual.loader is not None:
      return None
  if not portions:
    return None
  spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
  spec.submodule_search_locations = list(dict.fromkeys(portions))
  return spec
