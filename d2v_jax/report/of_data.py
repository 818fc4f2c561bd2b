"""The page about data that nothing was learned from yet."""

import functools
from typing import Any

from d2v_jax import config as config_lib
from d2v_jax.evaluators.features import is_split
from d2v_jax.report import seen
from d2v_jax.report.markup import Element, tag
from d2v_jax.report.opened import Opened, opened
from d2v_jax.report.page import Page, Section, attempt
from d2v_jax.report.pictures.drawer import Drawer
from d2v_jax.report.pictures.drawers import drawer
from d2v_jax.training.inherited import inherit


def page(name: str, config: Any, found: str) -> Page:
  """What was found in the data of a config, and what the network will see.

  Args:
    name: of the config.
    config: of a run or a probe.
    found: by a check of the data, as text.
  """
  spec = inherit(config_lib.plain(config))

  @functools.cache
  def data() -> tuple[Opened, Drawer]:
    it = opened(spec)
    return it, drawer(it.dataset)

  def evaluated(split: str) -> list[Element]:
    return seen.evaluated(*data(), split)

  sections = [Section("What was found", (tag("pre", found),))]
  if "batch_size" in spec:  # of a run, not of a probe
    title = "What the network sees"
    sections.append(attempt(title, lambda: seen.content(*data())))
  section = spec.get("evaluation") or {}
  for split in sorted(filter(is_split, section), key=_order):
    if section[split] is not None:
      show = functools.partial(evaluated, split)
      sections.append(attempt(f"evaluation.{split}", show))
  modality = f"config.modality={spec['modality']}"
  return Page(f"The data of {name}", modality, sections)


def _order(split: str) -> tuple[bool, str]:
  return split != "train", split
