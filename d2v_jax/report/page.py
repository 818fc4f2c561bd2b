"""The page: sections of a run, in one file that needs no other."""

import dataclasses
import functools
import importlib.resources
import re
from collections.abc import Callable

from d2v_jax.report.markup import Element, tag, written

# Nothing is fetched and nothing runs, whatever stands in the page.
_POLICY = (
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
  "media-src data:"
)


@dataclasses.dataclass(frozen=True)
class Section:
  """A part of the page under a heading.

  Attributes:
    title: the heading.
    content: what stands below.
  """

  title: str
  content: tuple[Element, ...]

  @property
  def id(self) -> str:
    """By which it is linked to."""
    return slug(self.title)


def slug(text: str) -> str:
  """A text as the name of a link or a file."""
  return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")


def missing(title: str, reason: str) -> Section:
  """A section that says in a sentence why it is not there."""
  return Section(title, (note(reason),))


def attempt(title: str, content: Callable[[], list[Element]]) -> Section:
  """A section, or why there is none.

  Args:
    title: the heading.
    content: makes what stands below.
  """
  try:
    return Section(title, tuple(content()))
  # The page is written whatever has become of the data or the weights, which
  # may be anybody's.
  except Exception as e:
    said = " ".join(str(e).split()) or type(e).__name__
    return missing(title, f"This cannot be shown: {said}")


def note(text: str) -> Element:
  """A paragraph that says why something is not there, or is less than all."""
  return tag("p", text, class_="note")


@dataclasses.dataclass(frozen=True)
class Page:
  """A page.

  Attributes:
    title: of the page.
    subtitle: a line below it.
    sections: in their order; titles differ.
  """

  title: str
  subtitle: str
  sections: list[Section]

  def html(self) -> str:
    """The whole page, in ASCII, so that it can be written and read as any."""
    links = (tag("a", x.title, href=f"#{x.id}") for x in self.sections)
    parts = (
      tag("section", tag("h2", x.title), *x.content, id=x.id)
      for x in self.sections
    )
    document = tag(
      "html",
      tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag(
          "meta", name="viewport", content="width=device-width, initial-scale=1"
        ),
        tag("title", self.title),
        tag("style", style()),
      ),
      tag(
        "body",
        tag("header", tag("h1", self.title), tag("p", self.subtitle)),
        tag("svg", hatching(), width=0, height=0, aria_hidden="true"),
        tag("nav", *links, aria_label="sections"),
        tag("main", *parts),
      ),
      lang="en",
    )
    text = f"<!DOCTYPE html>\n{written(document)}\n"
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def hatching() -> Element:
  """What covers hidden tokens, for all pictures."""
  pattern = tag(
    "pattern",
    tag("rect", width=4, height=4),
    tag("path", d="M-1 1l2 -2M0 4l4 -4M3 5l2 -2"),
    id="hatch",
    width=4,
    height=4,
    patternUnits="userSpaceOnUse",
  )
  return tag("defs", pattern)


@functools.cache
def style() -> str:
  """What pages and pictures look like, as CSS."""
  return (importlib.resources.files(__package__) / "page.css").read_text()
