"""data2vec and data2vec 2.0 in JAX: one algorithm for images, speech, text.

import d2v_jax

d2v_jax.train("digits", "runs/digits")
model = d2v_jax.load("runs/digits")
model.features(images)  # float32 [n, D]
model.encode(images)  # float32 [n, N, D]
d2v_jax.evaluate("runs/digits")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from d2v_jax.actions import evaluate, train
  from d2v_jax.pretrained import load

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "load", "train"]

# Where they are; JAX is imported by those that need it, when it is needed.
_MODULES = {"evaluate": "actions", "load": "pretrained", "train": "actions"}


def __getattr__(name: str) -> Any:
  if name not in _MODULES:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
  return getattr(module, name)


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
