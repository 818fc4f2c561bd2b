"""Elements of HTML and SVG; all text in them is escaped."""

from xml.etree import ElementTree

Element = ElementTree.Element

# Beside what can be printed.
_SPACES = "\n\t"


def tag(
  name: str, /, *children: Element | str, **attributes: object
) -> Element:
  """Makes an element.

  Args:
    name: of the tag.
    children: elements, and text, which is escaped when it is written.
    attributes: by name; `_` stands for `-`, and one at the end for nothing
      (`class_`). None leaves one out.
  """
  made = Element(name)
  for key, value in attributes.items():
    if value is not None:
      made.set(key.rstrip("_").replace("_", "-"), clean(str(value)))
  add(made, *children)
  return made


def add(parent: Element, *children: Element | str) -> None:
  """Appends elements and text to an element."""
  for child in children:
    if isinstance(child, Element):
      parent.append(child)
    elif len(parent):
      parent[-1].tail = (parent[-1].tail or "") + clean(child)
    else:
      parent.text = (parent.text or "") + clean(child)


def clean(text: str) -> str:
  """Text that a page can hold: what cannot be printed as Python escapes it.

  Args:
    text: of any source, such as a name that is not UTF-8.
  """
  return "".join(
    c if c.isprintable() or c in _SPACES else repr(c)[1:-1] for c in text
  )


def written(element: Element) -> str:
  """An element as HTML."""
  return ElementTree.tostring(element, encoding="unicode", method="html")


def table(
  head: tuple[str, ...], rows: list[tuple[Element | str, ...]]
) -> Element:
  """A table whose first column names the rows.

  Args:
    head: names of the columns; () for none.
    rows: their cells.
  """
  made = tag("table")
  if head:
    names = (tag("th", x, scope="col") for x in head)
    made.append(tag("thead", tag("tr", *names)))
  body = tag("tbody")
  for first, *others in rows:
    cells = (tag("td", x) for x in others)
    body.append(tag("tr", tag("th", first, scope="row"), *cells))
  made.append(body)
  # A wide one scrolls by itself.
  return tag("div", made, class_="scroll")
