"""The pictures of a page as files of their own, for a README or a talk."""

import copy
from collections.abc import Iterator
from typing import NamedTuple
from xml.etree import ElementTree

from d2v_jax.report.markup import Element, tag
from d2v_jax.report.page import Page, Section, hatching, slug, style

_WIDTH = 900
_SMALL, _WIDE = 94, 330
_GAP, _MARGIN, _LINE = 14, 16, 20
_LETTERS = 6.2  # pixels of one, at most


class _Cell(NamedTuple):
  picture: Element
  below: str


class _Group(NamedTuple):
  """Pictures of one example.

  Attributes:
    above: what they are of.
    cells: side by side.
  """

  above: str
  cells: list[_Cell]


def files(page: Page) -> dict[str, str]:
  """Name of a file -> a picture in SVG.

  Each chart is one, and so are the examples of each section together. Texts
  are no pictures, and left out.
  """
  found = {}
  for section in page.sections:
    for part in section.content:
      for figure in part.iter("figure"):
        picture = figure.find("svg")
        if picture is not None and picture.get("class") == "chart":
          title = figure.findtext("figcaption/b", "")
          found[f"{slug(title)}.svg"] = _chart(picture, title)
    groups = list(_groups(section))
    if groups:
      found[f"{section.id}.svg"] = _sheet(section.title, groups)
  return found


def _groups(section: Section) -> Iterator[_Group]:
  for part in section.content:
    for element in part.iter():
      is_row = element.get("class") == "neighbours"
      if not is_row and element.tag != "figure":
        continue
      cells = [
        _Cell(
          child, (parent.findtext("p") or "") if parent.tag == "div" else ""
        )
        for parent in element.iter()
        for child in parent.findall("svg")
        if child.get("class", "").startswith("picture")
      ]
      if cells:
        above = " ".join(
          "".join(x.itertext()) for x in element.findall("figcaption")
        )
        yield _Group(above, cells)


def _chart(picture: Element, title: str) -> str:
  _, _, width, height = map(float, picture.get("viewBox", "").split())
  inside = _placed(picture, 0, _LINE, width, height)
  head = tag("text", title, x=10, y=18, class_="heading")
  told = picture.get("aria-label", title)
  return _file([head, inside], width, height + _LINE, told)


def _sheet(title: str, groups: list[_Group]) -> str:
  """Groups from left to right and, where there is no room, below."""
  drawn: list[Element] = []
  x, y, below = float(_MARGIN), float(_MARGIN), 0.0
  for group in groups:
    sizes, wide = _sizes(group)
    if x > _MARGIN and x + wide > _WIDTH - _MARGIN:
      x, y, below = float(_MARGIN), y + below + _GAP, 0.0
    top = y
    if group.above:
      above = _cut(group.above, wide)
      drawn.append(tag("text", above, x=x, y=y + 12, class_="heading"))
      top += _LINE
    for cell, (width, height) in zip(group.cells, sizes, strict=True):
      drawn.append(_placed(cell.picture, x, top, width, height))
      bottom = top + height
      if cell.below:
        said = _cut(cell.below, width)
        drawn.append(tag("text", said, x=x, y=bottom + 15, class_="below"))
        bottom += _LINE
      below = max(below, bottom - y)
      x += width + _GAP
    x += _GAP
  return _file(drawn, _WIDTH, y + below + _MARGIN, title)


def _sizes(group: _Group) -> tuple[list[tuple[float, float]], float]:
  """Width and height of each picture, and the width of all together.

  They are smaller than usual where they would not fit side by side.
  """
  kinds = [cell.picture.get("class", "").split() for cell in group.cells]
  usual = [_WIDE if "wide" in kind else _SMALL for kind in kinds]
  gaps = _GAP * (len(usual) - 1)
  scale = min(1.0, (_WIDTH - 2 * _MARGIN - gaps) / sum(usual))
  sizes = []
  for width, cell in zip(usual, group.cells, strict=True):
    _, _, w, h = map(float, cell.picture.get("viewBox", "").split())
    sizes.append((scale * width, scale * width * h / w))
  return sizes, scale * sum(usual) + gaps


def _cut(text: str, width: float) -> str:
  room = int(width / _LETTERS)
  return text if len(text) <= room else f"{text[: room - 1]}…"


def _placed(
  picture: Element, x: float, y: float, width: float, height: float
) -> Element:
  inside = copy.deepcopy(picture)
  for name, value in zip("xy", (x, y), strict=True):
    inside.set(name, f"{value:g}")
  inside.set("width", f"{width:g}")
  inside.set("height", f"{height:g}")
  # Its size stands here, and not in the page's style.
  inside.attrib.pop("class", None)
  return inside


def _file(drawn: list[Element], width: float, height: float, told: str) -> str:
  whole = tag(
    "svg",
    tag("title", told),
    tag("style", style()),
    hatching(),
    tag("rect", width="100%", height="100%", class_="ground"),
    *drawn,
    xmlns="http://www.w3.org/2000/svg",
    viewBox=f"0 0 {width:g} {height:g}",
    width=f"{width:g}",
    height=f"{height:g}",
    role="img",
  )
  return ElementTree.tostring(whole).decode("ascii") + "\n"
