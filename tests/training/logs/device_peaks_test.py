import pytest

from d2v_jax.training.logs import device_peaks


@pytest.mark.parametrize(
  ("first", "second"),
  [
    ("TPU v5 lite", "TPU v5e"),
    ("TPU v5", "TPU v5p"),
    ("TPU v6 lite", "TPU v6e"),
  ],
)
def test_both_names_of_a_tpu(first, second):
  assert device_peaks.peaks(first) == device_peaks.peaks(second) is not None


# How many operations the device can do in the time of reading one byte, as
# divided by hand: a slip of a power of ten in either number shows.
@pytest.mark.parametrize(
  ("kind", "intensity"),
  [
    ("TPU v2", 65.7),
    ("TPU v3", 136.7),
    ("TPU v4", 223.9),
    ("TPU v5 lite", 240.5),
    ("TPU v5", 166.0),
    ("TPU v6 lite", 560.4),
    ("TPU7x", 312.6),
    ("NVIDIA A100-SXM4-80GB", 153.0),
    ("NVIDIA H100 80GB HBM3", 295.3),
    ("NVIDIA H200", 206.1),
  ],
)
def test_operations_per_byte(kind, intensity):
  peaks = device_peaks.peaks(kind)
  assert peaks.flops / peaks.bandwidth == pytest.approx(intensity, abs=0.1)


@pytest.mark.parametrize(
  "kind",
  ["cpu", "TPU", "NVIDIA H100 PCIe", "NVIDIA H100 80GB HBM3 MIG 1g.10gb"],
)
def test_a_kind_that_is_not_known(kind):
  assert device_peaks.peaks(kind) is None
