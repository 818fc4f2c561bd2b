"""Eight simulated CPU devices for every test that asks JAX for devices.

XLA compiles without most of its optimizations: that is where most of the time
of these small programs goes. Tests that take `optimized` have all of them:
where numbers are compared with the reference's, and where it is running that
takes the time. What is compiled once is kept for later tests, for the
processes that they start, and, in a folder that the environment variable
D2V_TEST_CACHE names, for later runs of the tests.
"""

import os
import pathlib
import shutil
import tempfile

import pytest

_CACHE = "D2V_TEST_CACHE"
_OWN_CACHE = None if _CACHE in os.environ else tempfile.mkdtemp(prefix="d2v_")
if _OWN_CACHE is not None:
  os.environ[_CACHE] = _OWN_CACHE

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "")
  + " --xla_force_host_platform_device_count=8"
  # Cut into parts for threads, a small program takes longer to compile.
  + " --xla_cpu_parallel_codegen_split_count=1"
  # On a busy machine the threads of these devices wait long for each other.
  + " --xla_cpu_collective_call_terminate_timeout_seconds=600"
)
# A folder for each worker: one process may read what another is writing.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(
  pathlib.Path(os.environ[_CACHE], os.environ.get("PYTEST_XDIST_WORKER", ""))
)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def pytest_unconfigure():
  """Workers inherit the folder, so that only who made it removes it."""
  if _OWN_CACHE is not None:
    shutil.rmtree(_OWN_CACHE, ignore_errors=True)


@pytest.fixture
def optimized():
  """Programs are compiled as users' are: slower, and then they run faster."""
  import jax  # after what is said to it above

  option = "jax_disable_most_optimizations"
  before = jax.config.read(option)
  jax.config.update(option, False)
  yield
  jax.config.update(option, before)
