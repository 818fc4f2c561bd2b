"""A clock that a test sets, in the place of a module's."""

import types


def fake_clock(monkeypatch, module, function: str, start: float = 100.0):
  """Replaces `time.function()` in a module by the returned object's `now`."""
  clock = types.SimpleNamespace(now=start)
  fake = types.SimpleNamespace(**{function: lambda: clock.now})
  monkeypatch.setattr(module, "time", fake)
  return clock
