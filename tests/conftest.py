"""Eight simulated CPU devices for every test that asks JAX for devices.

XLA compiles without most of its optimizations: that is where most of the time
of these small programs goes. Where numbers are compared with the reference's
(test_goldens.py) it has all of them.
"""

import os

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)


@pytest.fixture(scope="session")
def compilation_cache(tmp_path_factory):
  """A folder in which runs leave what they have compiled to later ones."""
  return tmp_path_factory.mktemp("compilation_cache")


@pytest.fixture(scope="module")
def cached_compilation(compilation_cache):
  """Runs within this process use the folder, too."""
  import jax
  from jax.experimental.compilation_cache import compilation_cache as cache

  options = {
    "jax_compilation_cache_dir": str(compilation_cache),
    "jax_persistent_cache_min_compile_time_secs": 0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
  }
  before = {name: getattr(jax.config, name) for name in options}
  for name, value in options.items():
    jax.config.update(name, value)
  yield
  for name, value in before.items():
    jax.config.update(name, value)
  cache.reset_cache()
