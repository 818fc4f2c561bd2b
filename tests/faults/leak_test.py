"""A run that goes on for long takes no more than at its beginning."""

import statistics

import pytest

from tests import runs


@pytest.mark.slow
def test_memory_and_files_stay_as_they_are(tmp_path):
  """2,000 steps, 50 evaluations and 40 checkpoints."""
  status, _, err = runs.run(
    "--config.num_devices=1",
    "--config.total_steps=2000",
    "--config.batch_size=128",
    "--config.encoder.depth=1",
    "--config.objective.targets.top_k=1",
    "--config.evaluation.every=40",
    "--config.evaluation.evaluators={'effective_rank': {}}",
    "--config.checkpoint_every=50",
    "--config.log_every=10",
    workdir=tmp_path / "run",
    seconds=1800,
    # What is freed goes back to the system at once.
    variables={
      "MALLOC_ARENA_MAX": "1",
      "MALLOC_TRIM_THRESHOLD_": "0",
      "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
    },
  )
  assert status == 0, err
  held = runs.reported(f"{tmp_path / 'run'}.report", "held")
  assert len(held) == 51
  # Caches are filled, and buffers have their size.
  early, late = held[10:20], held[-10:]

  def middle(name, some):
    return statistics.median(x[name] for x in some)

  # From step 580 to step 1,820. A batch is 10 kB: kept, they would be 12 MB.
  assert middle("memory", late) - middle("memory", early) < 6e6
  # A checkpoint that is being written has some for a while.
  for name in ("files", "threads", "arrays"):
    most = max(x[name] for x in early)
    assert min(x[name] for x in late) <= most, name
