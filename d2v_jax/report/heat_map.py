"""A value of each layer over steps, as squares of more or less darkness."""

from collections.abc import Mapping

from d2v_jax.report.chart import WIDTH, Points, shown
from d2v_jax.report.markup import Element, tag

_LEFT, _RIGHT, _TOP = 70, 8, 4
_ROW = 24
_MOST_COLUMNS = 40
# Narrower squares have no room for their numbers.
_NUMBER_WIDTH = 40


def heat_map(title: str, rows: Mapping[str, Points]) -> Element:
  """A figure: steps from left to right, a row for each layer.

  Args:
    title: what is drawn.
    rows: name of the row -> (step, value), of the same steps in all.
  """
  steps = sorted({step for points in rows.values() for step, _ in points})
  every = -(-len(steps) // _MOST_COLUMNS)
  steps = sorted({*steps[::every], steps[-1]})
  values = [v for points in rows.values() for _, v in points]
  low, high = min(values), max(values)
  width = (WIDTH - _LEFT - _RIGHT) / len(steps)
  height = _TOP + _ROW * len(rows) + 34
  drawn: list[Element] = []
  for i, (name, points) in enumerate(rows.items()):
    top = _TOP + _ROW * i
    found = dict(points)
    drawn.append(
      tag(
        "text",
        name,
        x=_LEFT - 6,
        y=top + _ROW / 2,
        dy="0.32em",
        class_="y",
      )
    )
    for j, step in enumerate(steps):
      if step in found:
        share = (found[step] - low) / (high - low) if high > low else 0.5
        at = _LEFT + width * j
        drawn.extend(_square(found[step], share, at, top, width, name, step))
  for j in sorted({0, len(steps) // 2, len(steps) - 1}):
    drawn.append(
      tag(
        "text",
        shown(steps[j]),
        x=round(_LEFT + width * (j + 0.5), 1),
        y=height - 20,
        class_="x",
      )
    )
  drawn.append(
    tag("text", "step", x=WIDTH - _RIGHT, y=height - 4, class_="x unit")
  )
  told = "; ".join(
    f"{name} {shown(points[0][1])} at first, {shown(points[-1][1])} at last"
    for name, points in rows.items()
  )
  picture = tag(
    "svg",
    *drawn,
    viewBox=f"0 0 {WIDTH} {height}",
    role="img",
    aria_label=f"{title}: {told}.",
    class_="chart",
  )
  caption = tag(
    "figcaption",
    tag("b", title),
    tag("span", f"from {shown(low)} (pale) to {shown(high)} (full)"),
  )
  return tag("figure", caption, picture)


def _square(
  value: float,
  share: float,
  left: float,
  top: float,
  width: float,
  row: str,
  step: float,
) -> list[Element]:
  made = [
    tag(
      "rect",
      tag("title", f"{row}, step {step:g}: {shown(value)}"),
      x=round(left, 1),
      y=top,
      width=round(width - 1, 1),
      height=_ROW - 1,
      class_="heat",
      fill_opacity=round(0.06 + 0.94 * share, 3),
    )
  ]
  if width >= _NUMBER_WIDTH:
    made.append(
      tag(
        "text",
        shown(value),
        x=round(left + width / 2, 1),
        y=top + _ROW / 2,
        dy="0.32em",
        class_="on-dark" if share > 0.5 else "on-pale",
      )
    )
  return made
