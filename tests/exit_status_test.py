"""The page, the help and the program name the same statuses."""

import signal

from d2v_jax import exit_status
from tests import runs


def test_the_table_has_every_status():
  named = {status for row in exit_status.TABLE for status in row[0].split()}
  ours = (
    exit_status.FINISHED,
    exit_status.WRONG_INPUT,
    exit_status.SICK,
    exit_status.IN_USE,
    exit_status.INFRASTRUCTURE,
    exit_status.interrupted(signal.SIGTERM),
    exit_status.interrupted(signal.SIGINT),
  )
  assert {str(status) for status in ours} <= named


def test_the_page_has_the_same_table():
  page = (runs.ROOT / "docs" / "running.md").read_text()
  for row in exit_status.TABLE:
    assert f"| {' | '.join(row)} |\n" in page
