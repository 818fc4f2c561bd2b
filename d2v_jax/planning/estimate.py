"""How long a program takes, from what its instructions cost."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

from d2v_jax.planning.costs import Cost
from d2v_jax.planning.devices import Target
from d2v_jax.training.logs.device_peaks import Peaks

# Assumptions about hand-written kernels of attention on TPUs, for which the
# compiler has no cycles: heads of 64 fill half of a matrix unit; a register of
# 1024 logits takes ten cycles for bias, maximum, exponential, sum and dropout.
_KERNEL_PEAK = 0.5
_EXPONENTIALS = 100

# Of a step, by the names that its instructions come from; the first that fits.
# What is traced and not differentiated is the update; the compiler's own
# instructions are of no path.
_PARTS = {
  "teacher": re.compile(r"\bteacher\b"),
  "backward": re.compile(r"\btranspose\("),
  "forward": re.compile(r"\bjvp\("),
  "update": re.compile("/"),
}

CALIBRATION = {
  "tpu": "Time is an estimate: the compiler's own cycles of each instruction, "
  "at the clock that the published peak stands for, or the bytes that it "
  "moves, whichever takes longer. By these cycles a product of two bfloat16 "
  "matrices of 8192 x 8192 reaches 98 % of the peak of a v2, 97 % of a v3, "
  "93 % of a v4, 88 % of a v5e, 90 % of a v5p, 70 % of a v6e and 81 % of a "
  "TPU7x (libtpu 0.0.50.1). No step was compared with a chip: use ratios.",
  "gpu": "Time is a floor: each kernel takes as long as its products at the "
  "peak or its bytes at the published bandwidth, whichever is longer. The one "
  "step that was measured on an H100 (text_base, 32 texts of 512 tokens) took "
  "1.74 times that.",
  "cpu": "Time is not estimated: a CPU has no peak that is known here.",
}


@dataclasses.dataclass(frozen=True)
class Estimate:
  """Seconds of one call of a program.

  Attributes:
    seconds: of all.
    computing: of the instructions one after the other, without collectives.
    sending: of collectives one after the other.
    work: of what is in `computing`: matrix 'products' and what is fused with
      them, hand-written 'kernels', and what is 'other': element-wise work,
      sums and copies.
    parts: the same by parts of the step: 'teacher', the student's 'forward' and
      'backward' pass, 'update' of optimizer and teacher with its norms, and the
      'rest', what the compiler made and does not say for what.
  """

  seconds: float
  computing: float
  sending: float
  work: Mapping[str, float]
  parts: Mapping[str, float]


def estimate(costs: Sequence[Cost], target: Target) -> Estimate | None:
  """Seconds of a program; None where the device's limits are not known.

  Copies that run beside others cost no time of their own. Collectives that do
  take the time that is more than all else; the others take theirs in full.

  Args:
    costs: of its instructions.
    target: where it runs.
  """
  if target.peaks is None:
    return None
  waiting = beside = 0.0
  work = dict.fromkeys(("products", "kernels", "other"), 0.0)
  parts = dict.fromkeys(
    ("teacher", "forward", "backward", "update", "rest"), 0.0
  )
  for cost in costs:
    if cost.collective:
      seconds = cost.times * _sending(cost, target)
      if cost.overlaps:
        beside += seconds
      else:
        waiting += seconds
    elif not _runs_beside(cost):
      seconds = cost.times * _computing(cost, target)
      work[_work(cost)] += seconds
      parts[_part(cost.instruction.place)] += seconds
  computing = sum(work.values())
  return Estimate(
    seconds=max(computing, beside) + waiting,
    computing=computing,
    sending=beside + waiting,
    work=work,
    parts=parts,
  )


def _work(cost: Cost) -> str:
  if cost.kernel:
    return "kernels"
  return "products" if cost.operations else "other"


def _part(place: str) -> str:
  return next((k for k, v in _PARTS.items() if v.search(place)), "rest")


def _runs_beside(cost: Cost) -> bool:
  """Whether it is half of a copy that the core does not wait for."""
  op = cost.instruction.op
  return op != "fusion-start" and op.endswith(("-start", "-done"))


def _computing(cost: Cost, target: Target) -> float:
  assert target.peaks is not None
  if cost.kernel and target.clock is not None:
    return _in_kernel(cost, target.peaks, target.clock)
  moving = cost.moved / target.peaks.bandwidth
  if cost.cycles is not None and target.clock is not None:
    return max(cost.cycles / target.clock, moving)
  return max(cost.operations / target.peaks.flops, moving)


def _in_kernel(cost: Cost, peaks: Peaks, clock: float) -> float:
  """Of a TPU: what is around the exponentials does not overlap products."""
  products = cost.operations / (_KERNEL_PEAK * peaks.flops)
  elements = cost.exponentials / (_EXPONENTIALS * clock)
  return max(products + elements, cost.moved / peaks.bandwidth)


def _sending(cost: Cost, target: Target) -> float:
  """By rings: what a device has goes to all others in turn."""
  if target.link is None:
    return 0.0
  count = len(target.devices)
  shares = {
    # Sums are made in one round and spread in another.
    "all-reduce": 2 * (count - 1) / count,
    "reduce-scatter": count - 1,
    "collective-permute": 1,
  }
  share = shares.get(cost.collective, (count - 1) / count)
  return share * cost.received / target.link
