"""Opens Parquet and Arrow files, saved datasets, and those of the hub."""

import glob
import os
import sys
from typing import Any

from d2v_jax.data.hf.rows import HfRows

_KINDS = {".parquet": "parquet", ".arrow": "arrow"}
_SAVED = ("dataset_info.json", "dataset_dict.json")  # by save_to_disk
_GLOB = "*?["


def is_dataset(value: Any) -> bool:
  """Whether something is a dataset with random access, of the package."""
  package = sys.modules.get("datasets")
  return package is not None and isinstance(value, package.Dataset)


def load(
  path: str,
  split: str | None = None,
  subset: str | None = None,
  revision: str | None = None,
  streaming: bool = False,
) -> HfRows:
  """Opens a dataset.

  Args:
    path: a folder that `save_to_disk` wrote; a folder of files that the package
      reads; a Parquet or Arrow file, or a glob of them; or a name on the hub,
      which is downloaded, unless it is in the cache.
    split: such as 'train' or, but of saved ones, 'train[:10%]'; None for the
      only one.
    subset: configuration of the dataset; None for the only one.
    revision: commit or tag on the hub; None for the newest.
    streaming: must be False.

  Raises:
    ValueError: it is not there, has no such split, or cannot be read; or the
      package is not installed; or `streaming`.
  """
  if streaming:
    raise ValueError(
      "HfRows: streaming=True gives rows in one order only, so that a run "
      "could neither shuffle all of them nor go on exactly where it stopped; "
      f"leave it out: {path!r} is then downloaded once and read at random"
    )
  try:
    import datasets
  except ImportError as error:
    raise ValueError(
      "HfRows: the source 'hf' needs the package datasets; install it with pip "
      "install 'd2v_jax[hf]'"
    ) from error
  name = os.path.normpath(path) + (f"/{subset}" if subset else "")
  try:
    found = _opened(path, split, subset, revision)
  except ConnectionError as error:
    raise ValueError(
      f"HfRows: {path!r} is no file or folder here, and the hub cannot be "
      f"reached ({error}); check the path, or load it once where there is a "
      "network, by datasets.load_dataset into the cache that HF_HOME names, or "
      "by save_to_disk into a folder whose path is given here"
    ) from error
  except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
    why = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
    raise ValueError(f"HfRows: cannot open {path!r}: {why}") from error
  if isinstance(found, dict):
    if split is None and len(found) == 1:
      split = next(iter(found))
    if split not in found:
      said = "split is missing" if split is None else f"no split {split!r}"
      raise ValueError(
        f"HfRows: {path!r}: {said}; choose one of: {', '.join(found)}"
        + ("" if split is None or "[" not in split else ", whole")
      )
    found = found[split]
  return HfRows(found, f"{name}/{split}" if split else name)


def _opened(
  path: str, split: str | None, subset: str | None, revision: str | None
) -> Any:
  """A dataset, or a dict of those by split."""
  import datasets

  if any(os.path.isfile(os.path.join(path, file)) for file in _SAVED):
    found = datasets.load_from_disk(path)
    own = str(getattr(found, "split", None) or "")
    if split not in (None, own) and not isinstance(found, dict):
      raise ValueError(
        f"it is one set, {own or 'of no split'}, and has no {split!r}; leave "
        "split out"
      )
    return found
  kind = _KINDS.get(os.path.splitext(path)[1].lower())
  if kind is None and not any(character in path for character in _GLOB):
    return datasets.load_dataset(path, subset, split=split, revision=revision)
  files = sorted(glob.glob(path, recursive=True)) or [path]
  kinds = {_KINDS.get(os.path.splitext(x)[1].lower()) for x in files}
  if len(kinds) > 1 or None in kinds or not os.path.exists(files[0]):
    raise ValueError(
      "there must be files that all end in .parquet, or all in .arrow; found "
      f"{', '.join(files[:3]) if os.path.exists(files[0]) else 'none'}"
    )
  return datasets.load_dataset(kinds.pop(), data_files=files, split=split)
