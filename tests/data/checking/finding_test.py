import logging

import pytest

from d2v_jax.config import ConfigError
from d2v_jax.data.checking.finding import Finding, named, noted


def test_warnings_and_errors_become_findings(caplog):
  findings = []
  with noted(findings, "config.a"):
    logging.warning("left out %d", 3)
    logging.info("no matter")
    raise ValueError("wrong")
  with noted(findings, "config.b"):
    raise ConfigError("config.b.c: missing")
  assert findings == [
    Finding("config.a: wrong", stops=True),
    Finding("config.a: left out 3"),
    Finding("config.b.c: missing", stops=True),
  ]
  # Said once, and nothing is logged beside.
  assert caplog.records == []
  logging.warning("after")
  assert [x.message for x in caplog.records] == ["after"]


def test_what_two_splits_have_in_common_is_said_once():
  findings = []
  for where in ("config.a", "config.b"):
    with noted(findings, where):
      logging.warning("left out 3")
  assert findings == [Finding("config.a: left out 3")]


def test_other_errors_are_bugs(monkeypatch):
  with pytest.raises(KeyError), noted([], "x"):
    raise KeyError
  monkeypatch.setenv("D2V_TRACEBACK", "1")
  with pytest.raises(ValueError, match="wrong"), noted([], "x"):
    raise ValueError("wrong")


def test_names():
  assert named(["a", "b\n", "c"]) == r"a, b\n, c"
  assert named(["a", "b", "c", "d"]) == "a, b, c, ..."
