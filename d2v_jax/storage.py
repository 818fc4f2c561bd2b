"""Where files lie: on a disk or in a bucket, and what can be made again."""

import os
import pathlib


def in_bucket(path: str | os.PathLike[str]) -> bool:
  """Whether a path is one of an object store, as gs://bucket/name is.

  There no call makes a file only if there is none, nothing can be appended to
  or moved, and there are neither links nor empty folders.
  """
  return "://" in str(path)


def cache_folder(name: str) -> pathlib.Path:
  """The user's folder of a name for what can be made again: ~/.cache/d2v_jax/.

  $XDG_CACHE_HOME takes the place of ~/.cache.
  """
  cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
  return pathlib.Path(cache) / "d2v_jax" / name
