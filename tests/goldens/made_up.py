"""Cases that no reference has made, to test what is made of cases."""

import pytest

from tests.goldens import pure


def skips(match: str):
  """Expects that a test is skipped, for the reason that a pattern says."""
  return pytest.raises(pytest.skip.Exception, match=match)


def check(groups, name, options, arrays, **meta):
  """Checks a made-up setting of a function, whose member is 'm'."""
  where = groups.get(name, groups.get("*")).options.format(
    group=name, member="m"
  )
  meta = {"case": "pure_made_up", "configs": {where: options}} | meta
  arrays = {f"{name}/m/{array}": value for array, value in arrays.items()}
  pure.check(meta, arrays, groups, name, "m")
