"""Orders of epochs, made when they are needed."""

import threading
from collections.abc import Callable
from typing import TypeVar

Order = TypeVar("Order")

_LOCK = threading.Lock()


def kept(
  epochs: dict[int, Order], epoch: int, make: Callable[[int], Order]
) -> Order:
  """Returns the order of an epoch, made once.

  The one that was made before stays, as other threads may still be reading it.

  Args:
    epochs: those that are kept, by number; the others are taken out of it.
    epoch: its number.
    make: number -> order.
  """
  # One lock for all, since a lock cannot be pickled with its stream.
  with _LOCK:
    if epoch not in epochs:
      for old in list(epochs)[:-1]:
        del epochs[old]
      epochs[epoch] = make(epoch)
    return epochs[epoch]
