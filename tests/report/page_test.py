"""A page has all that it needs in itself."""

import re

from d2v_jax.report.markup import tag
from d2v_jax.report.page import Page, Section, missing


def test_sections_are_linked_and_in_order():
  sections = [
    Section("What it sees", (tag("p", "one"),)),
    missing("Confusion", "There are no labels."),
  ]
  made = Page("runs/<x>", "a & b", sections).html()
  assert made.startswith("<!DOCTYPE html>\n<html")
  assert '<a href="#what-it-sees">What it sees</a>' in made
  assert '<section id="what-it-sees"><h2>What it sees</h2><p>one</p>' in made
  assert 'id="confusion"><h2>Confusion</h2><p class="note">There are no' in made
  assert "<title>runs/&lt;x&gt;</title>" in made
  assert "<p>a &amp; b</p>" in made


def test_nothing_is_fetched_and_nothing_runs():
  made = Page("x", "y", []).html()
  assert "default-src 'none'" in made
  assert not re.search(r"<script|<link|https?:|@import|url\((?!#)", made)


def test_colours_are_those_of_light_and_dark():
  made = Page("x", "y", []).html()
  names = re.findall(r"--(\w+): #", made.split("prefers-color-scheme")[0])
  dark = re.findall(r"--(\w+): #", made.split("prefers-color-scheme")[1])
  assert names == dark
  assert {f"s{i}" for i in range(8)} <= set(names)
