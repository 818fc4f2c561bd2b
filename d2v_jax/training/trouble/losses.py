"""What the losses of a run have been, and which is out of all proportion."""

import dataclasses

# Steps in which a network knows nothing yet, whatever its objective.
_UNTAUGHT = 10


@dataclasses.dataclass
class Losses:
  """Means over so many steps, in numbers that a checkpoint can hold.

  Attributes:
    window: steps of a mean.
    count: steps in the present one, `window` at most.
    mean: the present one.
    first: the first one of `window` steps; None: they are not over.
    lowest: of all such means.
    untaught: the mean of the first ten steps, or of those before.
    spread: that of the targets' standard deviation then: larger targets have
      larger losses.
    high: losses out of proportion since that began.
    calm: those that came last and are not.
  """

  window: int
  count: int = 0
  mean: float = 0.0
  first: float | None = None
  lowest: float | None = None
  untaught: float | None = None
  spread: float = 0.0
  high: int = 0
  calm: int = 0

  def add(self, loss: float, target_std: float) -> None:
    """Counts one more: a plain mean at first, and then one that forgets."""
    self.count = min(self.count + 1, self.window)
    self.mean += (loss - self.mean) / self.count
    if self.first is None and self.count <= _UNTAUGHT:
      self.untaught = self.mean
      self.spread += (target_std - self.spread) / self.count
    if self.count == self.window:
      if self.first is None or self.lowest is None:
        self.first = self.lowest = self.mean
      self.lowest = min(self.lowest, self.mean)

  def above(self, loss: float, target_std: float, ratio: float) -> str:
    """What a loss is out of all proportion to; '' if to nothing."""
    lowest, untaught = self.lowest or 0.0, self.untaught or 0.0
    if lowest > 0 and loss > max(ratio * lowest, 2 * (self.first or 0.0)):
      return f"its lowest mean, {lowest:.4g}"
    grown = target_std / self.spread if self.spread > 0 else 1.0
    if untaught > 0 and loss > ratio * untaught * max(1.0, grown) ** 2:
      return f"what it was in the first steps, {untaught:.4g}"
    return ""
