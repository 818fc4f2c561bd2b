"""What one device of a kind can do at most, as its maker publishes it."""

import dataclasses

_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Peaks:
  """Limits of one device: what JAX calls a device, a chip or a GPU.

  Attributes:
    flops: bfloat16 operations per second of the matrix units, without
      sparsity; a multiply-add is two.
    bandwidth: bytes per second between the device and its memory.
    memory: bytes of that memory; the device's software takes some for itself.
  """

  flops: float
  bandwidth: float
  memory: int


# To JAX half of a chip is a device.
_V2 = Peaks(23e12, 0.35e12, 8 * _GIB)
_V3 = Peaks(61.5e12, 0.45e12, 16 * _GIB)
_V7X = Peaks(1153.5e12, 3.69e12, 96 * _GIB)
_V4 = Peaks(275e12, 1.228e12, 32 * _GIB)
_V5E = Peaks(197e12, 0.819e12, 16 * _GIB)
_V5P = Peaks(459e12, 2.765e12, 95 * _GIB)
_V6E = Peaks(918e12, 1.638e12, 32 * _GIB)
_A100_40 = Peaks(312e12, 1.555e12, 40 * _GIB)

# Keys are what `jax.Device.device_kind` says: the newer TPUs have two names,
# and of a GPU each board has its own.
_PEAKS = {
  "TPU v2": _V2,
  "TPU v3": _V3,
  "TPU v4": _V4,
  "TPU v5 lite": _V5E,
  "TPU v5e": _V5E,
  "TPU v5": _V5P,
  "TPU v5p": _V5P,
  "TPU v6 lite": _V6E,
  "TPU v6e": _V6E,
  "TPU7x": _V7X,
  "NVIDIA A100-SXM4-40GB": _A100_40,
  "NVIDIA A100-PCIE-40GB": _A100_40,
  "NVIDIA A100-SXM4-80GB": Peaks(312e12, 2.039e12, 80 * _GIB),
  "NVIDIA A100 80GB PCIe": Peaks(312e12, 1.935e12, 80 * _GIB),
  "NVIDIA H100 80GB HBM3": Peaks(989.4e12, 3.35e12, 80 * _GIB),
  "NVIDIA H200": Peaks(989.4e12, 4.8e12, 141 * _GIB),
}


def peaks(device_kind: str) -> Peaks | None:
  """The limits of a kind of device.

  Args:
    device_kind: as `jax.Device.device_kind` says it, e.g. 'TPU v5 lite'.

  Returns:
    Its limits; None if the kind is not known here, as a CPU's is not.

  Source: Cloud TPU documentation, "System architecture" of each version;
  NVIDIA's data sheets of A100, H100 SXM and H200.
  """
  return _PEAKS.get(device_kind)
