"""The command `d2v plan` as its user sees it."""

import dataclasses
import json

import pytest

from d2v_jax import commands
from d2v_jax.planning import plan
from tests import runs

KEYS = {
  "device",
  "per_device",
  "memory_bytes",
  "argument_bytes",
  "flops",
  "traffic_bytes",
  "collective_bytes",
  "step_seconds",
  "peak_fraction",
  "examples_per_second",
  "fits",
}
TEXT = str(runs.ROOT / "tests/configs/tiny_text.py")


@pytest.fixture
def planned(capsys):
  """Runs it; returns the lines that it prints."""

  def planned(*arguments):
    assert commands.main(["plan", *map(str, arguments)]) == 0
    return capsys.readouterr().out.splitlines()

  return planned


@pytest.fixture
def refused(capsys):
  def refused(*arguments):
    assert commands.main(["plan", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err

  return refused


@pytest.mark.slow
def test_a_row_for_each_length(planned):
  arguments = ("--device=cpu:2", "--per_device=4", "--json")
  # Not 'auto', whose backward pass repeats products.
  plain = "--config.encoder.attention=plain"
  rows = list(map(json.loads, planned(TEXT, *arguments, plain)))
  assert [row["length"] for row in rows] == [32, 64]
  for row in rows:
    assert row.keys() >= KEYS
    assert (row["device"], row["per_device"]) == ("cpu:2", 4)
    assert row["memory_bytes"] > row["argument_bytes"] > 0
    assert row["fits"] is True
    assert row["step_seconds"] is None
  # Attention grows with the square, and is small here.
  assert 2 < rows[1]["flops"] / rows[0]["flops"] < 2.5


def test_text(planned):
  lines = planned(
    runs.ROOT / runs.TINY, "--device=cpu", "--config.accumulate=2"
  )
  # Its batch_size is 16.
  assert "1 x cpu, 16 examples on each in 2 micro-batches" in lines[0]
  labels = [line[2:].split("  ")[0] for line in lines[1:-1]]
  assert labels[:3] == ["fits", "memory", "arguments"]
  assert lines[-1].startswith("Compiled by jax ")


def compiled(run, target, length=None):
  """Rows of a device on which 20 examples have room, and with remat 80."""
  micro_batch = run.batch_size / run.mesh.size / run.accumulate
  memory = micro_batch / (1 if run.config["encoder"]["remat"] == "none" else 4)
  return plan.Row(
    target=dataclasses.replace(target, memory=20),
    run=run,
    length=length,
    per_device=run.batch_size // run.mesh.size,
    fits=memory <= 20,
    parts={"activations": memory},
    memory_bytes=memory,
    argument_bytes=0,
    batch_bytes=0,
    checkpoint_bytes=0,
  )


@pytest.fixture
def small(monkeypatch):
  monkeypatch.setattr(plan, "compiled", compiled)


def test_what_fits(small, planned):
  arguments = (
    *("digits", "--config.encoder.remat=none", "--device=cpu:2"),
    *("--per_device=64", "--fit"),
  )
  largest, *ways = map(json.loads, planned(*arguments, "--json"))
  assert largest["per_device"] == 16
  assert {w["per_device"] for w in ways} == {64}
  fits = {str(w["settings"]): w["fits"] for w in ways}
  assert fits["{}"] is False
  assert fits["{'accumulate': 4}"] is True
  assert any("remat" in settings for settings in fits)
  lines = planned(*arguments)
  assert lines[0].startswith("The largest micro-batch that fits, of 1, 2, 3")
  assert "16 examples on each" in lines[1]
  assert "64 examples of an update on each device:" in lines
  (best,) = (line for line in lines if line.endswith("<- the cheapest"))
  assert "fits" in best


def test_what_fits_as_it_is(small, planned):
  lines = planned("digits", "--device=cpu:4", "--per_device=8", "--fit")
  assert any(line.startswith("  as it is: fits") for line in lines)
  assert not any("accumulate" in line for line in lines)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["digits", "--device=a100:8"], "error: --device=a100:8: unknown; choose"),
    (["digist", "--device=cpu"], "no config 'digist' (did you mean 'digits'?)"),
    (["probe_digits", "--device=cpu"], "probe_digits trains nothing: there is"),
    (
      [TEXT, "--device=cpu", "--length=48"],
      "--length=48: the batches have the ",
    ),
    (["digits", "--device=cpu", "--length=48"], "one shape, leave it out"),
    (
      ["digits", "--device=cpu:3"],
      "batch_size 64 is not a multiple of accumulate 1 x 3 devices; change",
    ),
    (
      ["digits", "--device=cpu", "--config.encoder.wdth=3"],
      "config.encoder.wdth: unknown field (did you mean 'width'?)",
    ),
  ],
)
def test_what_is_refused(arguments, message, refused):
  assert message in refused(*arguments)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["digits"], "the following arguments are required: --device"),
    (
      ["digits", "--device=cpu", "--per_device=0"],
      "must be 1 or more, got '0'",
    ),
  ],
)
def test_what_is_no_command_line(arguments, message, capsys):
  with pytest.raises(SystemExit) as e:
    commands.main(["plan", *arguments])
  assert e.value.code == 2
  assert message in capsys.readouterr().err
