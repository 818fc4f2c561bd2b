"""Keeps what is compiled, so that a restart need not compile it again."""

import os
import pathlib
import sys

from d2v_jax import storage


def folder() -> pathlib.Path:
  """Where compiled programs are kept if nothing else is said."""
  return storage.cache_folder("compiled")


def enable() -> None:
  """Makes JAX keep what it compiles from now on, and take it from there.

  JAX_COMPILATION_CACHE_DIR names another folder, and
  JAX_ENABLE_COMPILATION_CACHE=false turns it off. What is kept is found again
  by the program, the versions of JAX and its compiler, and the kind of the
  devices, of a CPU with its instructions; so machines can share a folder.
  """
  import jax

  if not jax.config.jax_enable_compilation_cache:
    return
  if not jax.config.jax_compilation_cache_dir:
    kept = folder()
    try:
      kept.mkdir(parents=True, exist_ok=True)
    except OSError as e:
      print(
        f"what is compiled cannot be kept in {kept} ({e.strerror}): each start "
        "compiles anew; JAX_COMPILATION_CACHE_DIR=FOLDER names another one.",
        file=sys.stderr,
      )
      return
    jax.config.update("jax_compilation_cache_dir", str(kept))
  # By default JAX leaves out what compiles within a second, of which a start
  # has dozens.
  if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
