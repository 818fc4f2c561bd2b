"""What the published recipes cost on TPUs may not grow.

With the libtpu of .ci/constraints-3.12.txt, as others make other programs.
"""

import json
import os
import re
import subprocess
import sys
from importlib import metadata

import pytest

from tests import runs

PINNED = re.search(
  r"^libtpu==(\S+)$",
  (runs.ROOT / ".ci/constraints-3.12.txt").read_text(),
  re.MULTILINE,
)[1]

# What was measured (benchmarks/results/plans.jsonl), and a tenth more.
BOUNDS = {
  ("vit_base", "v5e:1x1", 32): {
    "memory_bytes": 4.3e9,
    "traffic_bytes": 12.9e9,
    "collective_bytes": 0,
  },
  ("vit_large", "v5e:2x2", 32): {
    "memory_bytes": 3.65e9,
    "traffic_bytes": 45.5e9,
    "collective_bytes": 3.5e9,
  },
}


def installed():
  try:
    return metadata.version("libtpu")
  except metadata.PackageNotFoundError:
    return None


@pytest.mark.slow
@pytest.mark.skipif(
  installed() != PINNED,
  reason=f"the bounds are of libtpu {PINNED}, and {installed()} is installed: "
  f"pip install libtpu=={PINNED}",
)
@pytest.mark.parametrize("case", BOUNDS, ids=lambda case: case[0])
def test_bounds(case):
  name, device, per_device = case
  # As a user's: the other tests compile without most optimizations.
  ours = ("JAX_DISABLE_MOST_OPTIMIZATIONS", "XLA_FLAGS")
  environment = {k: v for k, v in os.environ.items() if k not in ours}
  command = ["plan", name, f"--device={device}", f"--per_device={per_device}"]
  finished = subprocess.run(
    [sys.executable, "-m", "d2v_jax", *command, "--json"],
    cwd=runs.ROOT,
    env=environment,
    stdout=subprocess.PIPE,
    text=True,
    check=True,
  )
  row = json.loads(finished.stdout)
  assert row["fits"]
  for field, bound in BOUNDS[case].items():
    assert row[field] <= bound, f"{field}: {row[field]:,} > {bound:,}"
