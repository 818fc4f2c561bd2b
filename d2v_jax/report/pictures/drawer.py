"""What draws examples of a modality."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from d2v_jax.report.markup import Element

Row = Mapping[str, np.ndarray]


class Drawer(Protocol):
  """Draws rows of batches; tokens are in the order of the network."""

  def tokens(self, row: Row) -> int:
    """How many tokens there are, padding apart, which stands last.

    Args:
      row: as for `plain`.
    """
    ...

  def plain(self, row: Row) -> Element:
    """The example.

    Args:
      row: with 'inputs', and 'padding' where there is some.
    """
    ...

  def hidden(self, row: Row, mask: np.ndarray) -> Element:
    """The example, with what a mask hides.

    Args:
      row: as for `plain`.
      mask: [N] bool, True = hidden.
    """
    ...

  def coloured(self, row: Row, colours: np.ndarray) -> Element:
    """A colour for each token, where the token is.

    Args:
      row: as for `plain`.
      colours: [N, 3] uint8, red, green and blue.
    """
    ...

  def marked(self, row: Row, token: int) -> Element:
    """The example with a frame around a token.

    Args:
      row: as for `plain`.
      token: 0 to N - 1.
    """
    ...
