"""A picture on a grid of cells, some of which are hidden or marked."""

import numpy as np

from d2v_jax.report.markup import Element, tag
from d2v_jax.report.pictures.encoded import picture

# Of smaller pictures each pixel is seen.
_PIXELS = 64
# All are drawn as wide as this, so that hatching is as fine on each.
_SIDE = 120


def drawn(
  pixels: np.ndarray,
  told: str,
  hidden: np.ndarray | None = None,
  marked: tuple[int, int] | None = None,
) -> Element:
  """A picture.

  Args:
    pixels: uint8 [H, W] or [H, W, 3].
    told: what it shows, in words.
    hidden: [R, C] bool, cells that are covered; R and C divide H and W.
    marked: row and column of a cell that has a frame, on a grid of `hidden`.
  """
  small = max(pixels.shape[:2]) <= _PIXELS
  scale = _SIDE / max(pixels.shape[:2])
  height, width = (round(scale * x, 2) for x in pixels.shape[:2])
  made = tag(
    "svg",
    tag(
      "image",
      href=picture(pixels),
      width=width,
      height=height,
      preserveAspectRatio="none",
      class_="pixels" if small else None,
    ),
    viewBox=f"0 0 {width:g} {height:g}",
    role="img",
    aria_label=told,
    class_="picture",
  )
  if hidden is None:
    return made
  high, wide = height / hidden.shape[0], width / hidden.shape[1]
  covered = "".join(
    f"M{c * wide:g} {r * high:g}h{wide:g}v{high:g}h{-wide:g}z"
    for r, c in np.argwhere(hidden)
  )
  if covered:
    made.append(tag("path", d=covered, class_="hidden"))
  if marked is not None:
    row, column = marked
    for kind in ("frame-around", "frame"):
      made.append(
        tag(
          "rect",
          x=f"{column * wide:g}",
          y=f"{row * high:g}",
          width=f"{wide:g}",
          height=f"{high:g}",
          class_=kind,
        )
      )
  return made
