"""A section of what the network makes of each token."""

from collections.abc import Sequence

import cv2
import numpy as np

from d2v_jax.data.layout import ImageInputs
from d2v_jax.report.examples import Shown
from d2v_jax.report.markup import Element, tag
from d2v_jax.report.network import Network
from d2v_jax.report.page import note
from d2v_jax.report.pictures.drawer import Row

EXAMPLES = 6
_GREY = 128


def content(network: Network) -> list[Element]:
  """Principal components of tokens as colours, and their likeness to one.

  Raises:
    ValueError: there are no weights, or the data cannot be read.
  """
  _, asked = network.parts
  shown = asked.read(asked.indices[:EXAMPLES])
  if not shown:
    raise ValueError(f"{asked.split}: not one example can be read.")
  tokens = network.tokens(shown)
  components, shares = principal(np.concatenate(tokens))
  colours = np.split(
    as_colours(components), np.cumsum([len(x) for x in tokens])[:-1]
  )
  mean = np.concatenate(tokens).mean(0)
  figures = [
    _figure(network, x, token - mean, colour)
    for x, token, colour in zip(shown, tokens, colours, strict=True)
  ]
  told = ", ".join(f"{share:.0%}" for share in shares)
  return [
    note(
      f"The {network.model.model}'s final output for each token of examples "
      f"from {asked.split}, at step {network.model.step}. First its three "
      "principal components over all these tokens as red, green and blue (they "
      f"hold {told} of the variance), then the first of them alone, then the "
      "cosine, around the mean, with the token in the frame: yellow is high, "
      "dark blue low. Where all examples show the same pattern the network "
      "tells positions and not what is there."
    ),
    tag("div", *figures, class_="seen"),
  ]


def principal(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Principal components of tokens.

  Args:
    tokens: [N, D].

  Returns:
    [N, 3], along the directions of most variance (0 where there are fewer),
    each with the sign that makes its largest weight positive; and the share of
    the variance that each holds, [3].
  """
  centred = tokens.astype(np.float64) - tokens.mean(0)
  _, values, directions = np.linalg.svd(centred, full_matrices=False)
  largest = np.abs(directions).argmax(1)
  signs = np.sign(directions[np.arange(len(directions)), largest])
  found = centred @ (signs[:, None] * directions)[:3].T
  shares = values**2 / max(float((values**2).sum()), 1e-30)
  missing = 3 - found.shape[1]
  return np.pad(found, ((0, 0), (0, missing))), np.pad(shares, (0, 3))[:3]


def as_colours(components: np.ndarray) -> np.ndarray:
  """Uint8 [N, 3] of [N, 3]: each from its 1st to its 99th percentile."""
  low, high = np.percentile(components, (1, 99), axis=0)
  shares = (components - low) / np.maximum(high - low, 1e-12)
  return np.round(255 * np.clip(shares, 0, 1)).astype(np.uint8)


def likeness(tokens: np.ndarray, token: int) -> np.ndarray:
  """Cosine [N] of tokens [N, D] with one of them."""
  norms = np.maximum(np.linalg.norm(tokens, axis=1), 1e-12)
  found: np.ndarray = tokens @ tokens[token] / (norms * norms[token])
  return found


def shaded(values: np.ndarray) -> np.ndarray:
  """Colours uint8 [N, 3] of values [N], from dark blue to yellow."""
  low, high = values.min(), values.max()
  share = (values - low) / max(float(high - low), 1e-12)
  grey = np.round(255 * share).astype(np.uint8)
  return cv2.applyColorMap(grey[None], cv2.COLORMAP_VIRIDIS)[0, :, ::-1]


def _middle(network: Network, tokens: np.ndarray) -> int:
  grid: Sequence[int] = network.model.encoder.grid
  if len(grid) == 2 and len(tokens) == grid[0] * grid[1]:
    return grid[0] // 2 * grid[1] + grid[1] // 2
  return len(tokens) // 2


def _figure(
  network: Network, shown: Shown, tokens: np.ndarray, colours: np.ndarray
) -> Element:
  drawer, row = network.drawer, shown.row
  token = _middle(network, tokens)
  cosines = likeness(tokens, token)
  maps = {
    "components": colours,
    "the first": shaded(colours[:, 0].astype(float)),
    f"cosine, from {cosines.min():.2f}": shaded(cosines),
  }
  is_image = isinstance(network.opened.dataset.inputs, ImageInputs)
  return tag(
    "figure",
    tag("figcaption", tag("span", shown.name)),
    tag(
      "div",
      _under("example", drawer.marked(row, token)),
      *(
        _under(words, drawer.coloured(row, _padded(row, values)))
        for words, values in maps.items()
      ),
      class_="maps" if is_image else "maps stacked",
    ),
  )


def _under(words: str, picture: Element) -> Element:
  return tag("div", picture, tag("p", words, class_="small"))


def _padded(row: Row, colours: np.ndarray) -> np.ndarray:
  """Colours of all tokens, padding included, which is grey."""
  total = row["padding"].size if "padding" in row else len(colours)
  return np.pad(
    colours, ((0, total - len(colours)), (0, 0)), constant_values=_GREY
  )
