"""Pictures that stand alone are those of the page."""

from xml.etree import ElementTree

import numpy as np
import pytest

from d2v_jax.report import curves, neighbours, picture_files, seen, stored
from d2v_jax.report.page import Page, Section
from tests import random_runs
from tests.report import workdirs
from tests.report.chart_test import points

SVG = "{http://www.w3.org/2000/svg}"


def read(text):
  """A file as XML, without the namespace."""
  root = ElementTree.fromstring(text)
  assert root.tag == f"{SVG}svg"
  for element in root.iter():
    element.tag = element.tag.removeprefix(SVG)
  return root


def size(element):
  return [float(element.get(k, 0)) for k in ("x", "y", "width", "height")]


def test_charts(tmp_path):
  run = stored.read(workdirs.write(tmp_path / "<one>"))
  page = Page("x", "y", [curves.training([run]), curves.evaluations([run])])
  found = picture_files.files(page)
  assert list(found) == ["loss.svg", "learning-rate.svg", "knn-accuracy.svg"]
  loss = read(found["loss.svg"])
  (line,) = points(loss)
  np.testing.assert_allclose(line, [(50, 2.0), (100, 1.5)], atol=0.02)
  assert loss.findtext("title").startswith("loss: <one> from 2 at step 50")
  assert "--s0:" in loss.findtext("style")


@pytest.mark.parametrize("modality", random_runs.CONFIGS)
def test_sheets(networks, modality):
  network = networks[modality]
  sections = [
    Section("Seen", tuple(seen.content(network.opened, network.drawer))),
    Section("Alike", tuple(neighbours.content(network))),
  ]
  found = picture_files.files(Page("x", "y", sections))
  if modality == "text":
    assert not found
    return
  assert list(found) == ["seen.svg", "alike.svg"]
  for name, text in found.items():
    sheet = read(text)
    pictures = sheet.findall("svg")
    (section,) = [x for x in sections if x.id == name.removesuffix(".svg")]
    every = [x for part in section.content for x in part.iter("svg")]
    assert len(pictures) == len(every) > 6
    for one, other in zip(pictures, every, strict=True):
      assert [x.attrib for x in one.iter()][1:] == [
        x.attrib for x in other.iter()
      ][1:]
    boxes = np.array([size(x) for x in pictures])
    _, _, width, height = map(float, sheet.get("viewBox").split())
    ends = boxes[:, :2] + boxes[:, 2:]
    assert (boxes[:, :2] > 0).all() and (ends < (width, height)).all()
    # No two of them overlap.
    for i in range(len(boxes)):
      for j in range(i):
        apart = (boxes[i, :2] >= ends[j]) | (boxes[j, :2] >= ends[i])
        assert apart.any(), (i, j)
    assert sheet.find("defs/pattern").get("id") == "hatch"
