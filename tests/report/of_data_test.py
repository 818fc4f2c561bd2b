"""A page of data that nothing was learned from: of runs and of probes."""

import re

from d2v_jax import config_file
from d2v_jax.report import of_data
from tests import runs


def test_a_probe_has_splits_alone(workdirs_of_networks):
  config = config_file.load(str(runs.ROOT / "configs/probe_digits.py"))
  config.init_from = str(workdirs_of_networks["vision"])
  page = of_data.page("<probe>", config, "a < b").html()
  assert re.findall('<section id="(.*?)">', page) == [
    "what-was-found",
    "evaluation-train",
    "evaluation-test",
  ]
  assert "<pre>a &lt; b</pre>" in page
  assert "The data of &lt;probe&gt;" in page
  assert page.count("<figure>") == 12
  assert "This cannot be shown" not in page
