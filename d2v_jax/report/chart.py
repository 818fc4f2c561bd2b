"""Lines over steps, as SVG that is read without colours, too."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from d2v_jax.report.markup import Element, tag
from d2v_jax.report.scale import Scale, scale

WIDTH, HEIGHT = 460, 260
_LEFT, _TOP, _BOTTOM = 58, 14, 222
# Colours, dashes and marks come round together.
STYLES = 8
# More points than pixels tell nothing more.
_MOST_POINTS = 400
_LINE_HEIGHT = 13
_LABEL_LENGTH = 22
_LETTER = 6.4  # pixels, of one that is wide

Points = Sequence[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Line:
  """One line of a chart.

  Attributes:
    label: stands at its end.
    points: (step, value), at least one, in the order of steps.
  """

  label: str
  points: Points


def chart(
  title: str,
  lines: Sequence[Line],
  references: Mapping[str, float] | None = None,
  log: bool | None = None,
) -> Element:
  """A figure.

  Args:
    title: what is drawn.
    lines: at least one.
    references: label -> value, drawn as thin level lines.
    log: whether the axis of values is logarithmic; None: as they need it.
  """
  references = dict(references or {})
  labels = [
    _Label(None, value, _short(name, value), "reference")
    for name, value in references.items()
  ]
  for i, line in enumerate(lines):
    # A single line is called as the chart is.
    name = line.label if len(lines) > 1 else ""
    step, value = line.points[-1]
    labels.append(_Label(step, value, _short(name, value), f"s{i % STYLES}"))
  right = WIDTH - 16 - _LETTER * max(len(x.text) for x in labels)
  x = scale(
    [step for line in lines for step, _ in line.points], _LEFT, right, False
  )
  values = [value for line in lines for _, value in line.points]
  y = scale([*values, *references.values()], _BOTTOM, _TOP, log)
  levels = (_number(y(value)) for value in references.values())
  picture = tag(
    "svg",
    _axes(x, y),
    *(
      tag("line", x1=_LEFT, x2=_number(right), y1=v, y2=v, class_="reference")
      for v in levels
    ),
    *(_line(line, x, y, i) for i, line in enumerate(lines)),
    *_labels(labels, x, y),
    viewBox=f"0 0 {WIDTH} {HEIGHT}",
    role="img",
    aria_label=_told(title, lines, references),
    class_="chart",
  )
  return tag("figure", tag("figcaption", tag("b", title)), picture)


def shown(value: float) -> str:
  """A number in few characters."""
  if value and not 1e-3 <= abs(value) < 1e5:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
  return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def thinned(points: Points) -> Points:
  """At most so many points that the lowest and the highest of each part stay.

  Args:
    points: (step, value).
  """
  if len(points) <= _MOST_POINTS:
    return points
  size = math.ceil(len(points) / (_MOST_POINTS / 2))
  kept: list[tuple[float, float]] = []
  for start in range(0, len(points), size):
    part = points[start : start + size]
    ends = {min(part, key=_value), max(part, key=_value)}
    kept.extend(sorted(ends))
  return [points[0], *kept[1:-1], points[-1]]


def _value(point: tuple[float, float]) -> float:
  return point[1]


def _line(line: Line, x: Scale, y: Scale, index: int) -> Element:
  points = [
    (_number(x(step)), _number(y(value)))
    for step, value in thinned(line.points)
  ]
  made = tag("g", tag("title", line.label), class_=f"line s{index % STYLES}")
  made.append(tag("polyline", points=" ".join(f"{a},{b}" for a, b in points)))
  # Marks tell lines apart where they cross: few, and others on each line.
  every = max(1, len(points) // 8)
  for a, b in points[(index * every // STYLES) :: every]:
    made.append(_mark(index % STYLES, float(a), float(b)))
  return made


def _mark(kind: int, x: float, y: float) -> Element:
  r = 3.2
  shapes = (
    f"M{x - r} {y}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z",
    f"M{x - r} {y - r}h{2 * r}v{2 * r}h{-2 * r}z",
    f"M{x} {y - r}l{r} {2 * r}h{-2 * r}z",
    f"M{x} {y - r}l{r} {r}l{-r} {r}l{-r} {-r}z",
    f"M{x - r} {y - r}l{2 * r} {2 * r}M{x - r} {y + r}l{2 * r} {-2 * r}",
    f"M{x - r} {y}h{2 * r}M{x} {y - r}v{2 * r}",
    f"M{x} {y + r}l{r} {-2 * r}h{-2 * r}z",
    f"M{x - r} {y}h{2 * r}",
  )
  return tag("path", d=shapes[kind], class_="mark")


def _axes(x: Scale, y: Scale) -> Element:
  made = tag("g", class_="axes")
  right = _number(x.end)
  for value in y.ticks:
    at = _number(y(value))
    made.append(tag("line", x1=_LEFT, x2=right, y1=at, y2=at))
    made.append(
      tag("text", shown(value), x=_LEFT - 6, y=at, dy="0.32em", class_="y")
    )
  for value in x.ticks:
    at = _number(x(value))
    made.append(tag("line", x1=at, x2=at, y1=_BOTTOM, y2=_BOTTOM + 4))
    made.append(tag("text", shown(value), x=at, y=_BOTTOM + 17, class_="x"))
  made.append(tag("text", "step", x=right, y=_BOTTOM + 33, class_="x unit"))
  return made


class _Label(NamedTuple):
  """What stands beside the last point of a line; None: all along the axis."""

  step: float | None
  value: float
  text: str
  style: str


def _short(name: str, value: float) -> str:
  number = shown(value)
  room = _LABEL_LENGTH - len(number) - 1
  if len(name) > room:
    name = f"{name[: room - 1]}…"
  return f"{name} {number}".strip()


def _labels(labels: list[_Label], x: Scale, y: Scale) -> Iterable[Element]:
  """Texts at the right, moved apart where they would overlap."""
  right = x.end
  ordered = sorted(labels, key=lambda label: y(label.value))
  places: list[float] = []
  for label in ordered:
    at = y(label.value)
    places.append(max(at, places[-1] + _LINE_HEIGHT) if places else at)
  # What was pushed out at the bottom goes back up.
  limit = float(HEIGHT - 8)
  for i in reversed(range(len(places))):
    places[i] = min(places[i], limit)
    limit = places[i] - _LINE_HEIGHT
  for place, label in zip(places, ordered, strict=True):
    end = right if label.step is None else x(label.step)
    begin = f"M{_number(end + 2)} {_number(y(label.value))}"
    yield tag(
      "path",
      d=f"{begin}L{_number(right + 9)} {_number(place)}",
      class_=f"leader {label.style}",
    )
    yield tag(
      "text",
      label.text,
      x=_number(right + 12),
      y=_number(place),
      dy="0.32em",
      class_=f"label {label.style}",
    )


def _told(
  title: str, lines: Sequence[Line], references: Mapping[str, float]
) -> str:
  """What a chart shows, for those who hear it."""
  parts = []
  for line in lines:
    (first, begin), (last, end) = line.points[0], line.points[-1]
    values = [value for _, value in line.points]
    parts.append(
      f"{line.label} from {shown(begin)} at step {first:g} to {shown(end)} at "
      f"step {last:g}, lowest {shown(min(values))}, highest "
      f"{shown(max(values))}"
    )
  parts += [f"for comparison {k} {shown(v)}" for k, v in references.items()]
  return f"{title}: {'; '.join(parts)}."


def _number(value: float) -> str:
  return f"{value:.2f}".rstrip("0").rstrip(".")
