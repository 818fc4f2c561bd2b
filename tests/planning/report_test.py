"""What is printed, of a row whose numbers are made up."""

import dataclasses
import json
import types

import pytest

from d2v_jax.planning import report
from d2v_jax.planning.devices import Target
from d2v_jax.planning.estimate import Estimate
from d2v_jax.planning.fit import Way
from d2v_jax.planning.plan import Row
from d2v_jax.training.logs.device_peaks import Peaks

FIELDS = {
  "device": "v5e:2x2",
  "per_device": 32,
  "memory_bytes": 9_000_000_000,
  "argument_bytes": 1_300_000_000,
  "flops": 4_000_000_000_000,
  "traffic_bytes": 30_000_000_000,
  "collective_bytes": 700_000_000,
  "step_seconds": 0.2,
  "peak_fraction": 0.1,
  "examples_per_second": 640.0,
  "work_seconds": {"products": 0.12, "kernels": 0.01, "other": 0.06},
  "part_seconds": {"teacher": 0.05, "backward": 0.14},
  "fits": True,
}


TEXT = {
  "fits": "yes",
  "memory": "9.00 GB: parameters 0.350, activations 7.700",
  "arguments": "1.300 GB",
  "operations": "4.000 TFLOP; 1.000 more to recompute; of them 0.500 in "
  "kernels, by a formula",
  "traffic": "30.00 GB",
  "collectives": "0.700 GB: all-gather 0.500, reduce-scatter 0.200",
  "step": "about 200.0 ms (computing 190.0 ms, collectives 50.0 ms)",
  "computing": "products 120.0 ms, other 60.0 ms, kernels (by a formula) 10.0 "
  "ms",
  "by part": "teacher 50.0 ms, backward 140.0 ms",
  "peak": "10.0% of the matrix peak",
  "speed": "640 examples/s on all devices",
  "whole run": "10.0 h for 180,000 updates of 128",
  "cost": "60 at 1.5 a device and hour",
  "input": "640 examples/s of 150 kB: 96.0 MB/s to all devices",
  "checkpoints": "1.40 GB each, every 1,000 updates = 3 min: 7.0 MB/s",
}


@pytest.fixture
def row():
  return Row(
    target=Target(
      "v5e:2x2", (None,) * 4, "tpu", "TPU v5 lite", Peaks(2e14, 8e11, 2**34)
    ),
    run=types.SimpleNamespace(
      batch_size=128,
      accumulate=2,
      config={"sharding": "fsdp"},
      total_steps=180_000,
      checkpoint_every=1000,
    ),
    length=None,
    per_device=32,
    fits=True,
    parts={"parameters": 0.35e9, "activations": 7.7e9},
    memory_bytes=9e9,
    argument_bytes=1.3e9,
    batch_bytes=150_000.0,
    checkpoint_bytes=1.4e9,
    flops=4e12,
    recomputed_flops=1e12,
    kernel_flops=0.5e12,
    traffic_bytes=30e9,
    collectives={"all-gather": 0.5e9, "reduce-scatter": 0.2e9},
    time=Estimate(
      0.2, 0.19, 0.05, FIELDS["work_seconds"], FIELDS["part_seconds"]
    ),
  )


def test_json(row):
  made = json.loads(report.as_json("vit_base", row))
  named = {"config": "vit_base", "length": None}
  assert made == FIELDS | named | {"peak_fraction": pytest.approx(0.1)}
  assert set(FIELDS) < set(made)


def test_json_of_what_does_not_fit(row):
  none = dict.fromkeys(("flops", "traffic_bytes", "collectives", "time"))
  row = dataclasses.replace(row, fits=False, **none)
  made = json.loads(report.as_json("x", row, settings={"accumulate": 2}))
  unknown = {k for k, value in made.items() if value is None}
  assert unknown == {
    "length",
    "flops",
    "traffic_bytes",
    "collective_bytes",
    "step_seconds",
    "peak_fraction",
    "examples_per_second",
    "work_seconds",
    "part_seconds",
  }
  assert made["settings"] == {"accumulate": 2}


def test_text(row):
  heading, *lines = report.as_text("vit_base", row, price=1.5).splitlines()
  assert heading == (
    "vit_base on v5e:2x2: 4 x TPU v5 lite, 32 examples on each in 2 "
    "micro-batches, 128 an update, fsdp"
  )
  assert [line[2:].split("  ", 1)[0] for line in lines] == list(TEXT)
  assert [line[18:] for line in lines] == list(TEXT.values())


def test_ways(row):
  slow = dataclasses.replace(row, time=Estimate(0.3, 0.3, 0, {}, {}))
  large = dataclasses.replace(row, fits=False, memory_bytes=40e9, time=None)
  ways = [
    Way({}, large),
    Way({"encoder.remat": True}, row),
    Way({"accumulate": 4}, slow),
  ]
  assert report.ways_text(ways, ways[1]).splitlines() == [
    "  as it is: does not fit, 40.00 GB",
    "  --config.encoder.remat=True: fits, 9.00 GB, 200.0 ms <- the cheapest",
    "  --config.accumulate=4: fits, 9.00 GB, 300.0 ms",
  ]
  assert "None of them fits: take smaller" in report.ways_text(ways[:1], None)
  assert report.largest_text("x", None, None).startswith("Not one example")
