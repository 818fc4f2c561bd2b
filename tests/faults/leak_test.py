"""A run that goes on for long takes no more than at its beginning."""

import statistics

import pytest

from tests import runs


@pytest.mark.slow
def test_memory_and_files_stay_as_they_are(tmp_path):
  """2,000 steps and 50 evaluations.

  Checkpoints are left out: Orbax 0.12 keeps some 50 kB of each, in what it
  collects of TensorStore's metrics.
  """
  status, _, err = runs.run(
    "--config.num_devices=1",
    "--config.total_steps=2000",
    "--config.batch_size=32",
    "--config.encoder.depth=1",
    "--config.objective.targets.top_k=1",
    "--config.evaluation.every=40",
    "--config.evaluation.evaluators={'effective_rank': {}}",
    "--config.checkpoint_every=2000",
    "--config.log_every=10",
    "--config.health.every=40",
    workdir=tmp_path / "run",
    seconds=1800,
    # Python's own objects are counted with all others.
    variables={
      "PYTHONMALLOC": "malloc",
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

  # From step 580 to step 1,820. A batch is 2 kB: kept, they would be 3 MB.
  assert middle("memory", late) - middle("memory", early) < 1e6
  for name in ("files", "threads", "arrays"):
    most = max(x[name] for x in early)
    assert min(x[name] for x in late) <= most, name
