"""Text comes back from a page as it was put in, whatever it is."""

import html.parser

import pytest

from d2v_jax.report.markup import table, tag, written


class Read(html.parser.HTMLParser):
  """What a browser would see: tags, attributes and text."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.attributes, self.text = [], {}, ""
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.attributes |= dict(attrs)

  def handle_data(self, data):
    self.text += data


NASTY = (
  "<script>alert(1)</script>",
  "a & b &lt; c",
  "\"quoted\" 'twice'",
  "</style><img src=x onerror=alert(1)>",
  "日本語 ünï",
  "two\nlines",
)


@pytest.mark.parametrize("text", NASTY)
def test_text_and_attributes_are_escaped(text):
  page = written(tag("p", text, tag("b", text), text, title=text))
  read = Read(page)
  assert read.tags == ["p", "b"]
  assert read.attributes == {"title": text}
  assert read.text == text * 3


def test_what_cannot_be_written_is_shown_as_python_shows_it():
  page = written(tag("p", "a\udcffb\x00c\x1b[31m", title="\ud800"))
  page.encode("utf-8")
  read = Read(page)
  assert read.text == r"a\udcffb\x00c\x1b[31m"
  assert read.attributes == {"title": r"\ud800"}


def test_names_of_attributes():
  made = tag("p", class_="x", aria_label="y", hidden=None, viewBox="0 0 1 1")
  assert made.attrib == {"class": "x", "aria-label": "y", "viewBox": "0 0 1 1"}


def test_table():
  made = table(("name", "value"), [("a", tag("b", "1")), ("<b>", "2")])
  rows = [[x.text or x[0].text for x in row] for row in made.iter("tr")]
  assert rows == [["name", "value"], ["a", "1"], ["<b>", "2"]]
  assert [x.get("scope") for x in made.iter("th")] == ["col"] * 2 + ["row"] * 2
