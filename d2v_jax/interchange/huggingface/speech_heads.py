"""Heads of Data2VecAudio: characters by CTC, and classes."""

from typing import Any

import numpy as np

from d2v_jax.interchange.huggingface.parts import prefixed, refuse
from d2v_jax.interchange.weights import Arrays, Rule, linear
from d2v_jax.models.heads import LinearHead

CTC = linear("lm_head", "head/fc1")
CLASSIFIER = linear("classifier", "head/fc1")


def choose(arrays: Arrays, columns: list[int], outputs: int) -> Arrays:
  """The head with some of its outputs, in another order.

  Args:
    arrays: of a CTC model.
    columns: outputs wanted.
    outputs: how many there must be; other heads are left as they are, and
      found to be misshapen later.
  """
  return {
    k: v[columns] if k.startswith("lm_head.") and len(v) == outputs else v
    for k, v in arrays.items()
  }


def as_one_map(arrays: Arrays) -> Arrays:
  """projector and classifier as one linear map after the mean over time.

  They have a mean and nothing else between them. A projector that changes
  nothing leaves the classifier as it is, bit for bit.
  """
  arrays = dict(arrays)
  maps = [
    arrays.get(f"{name}.{part}")
    for name in ("projector", "classifier")
    for part in ("weight", "bias")
  ]
  if any(x is None for x in maps):
    return arrays  # what lacks will be named
  inner, inner_bias, outer, outer_bias = maps
  shapes = (inner.ndim, outer.ndim, inner_bias.shape)
  if shapes != (2, 2, inner.shape[:1]) or outer.shape[1] != inner.shape[0]:
    return arrays
  del arrays["projector.weight"], arrays["projector.bias"]
  plain = np.array_equal(inner, np.eye(*inner.shape)) and not inner_bias.any()
  if not plain:
    inner, inner_bias = (x.astype(np.float64) for x in (inner, inner_bias))
    bias = outer @ inner_bias + outer_bias
    arrays["classifier.weight"] = (outer @ inner).astype(np.float32)
    arrays["classifier.bias"] = bias.astype(np.float32)
  return arrays


def rules(head: Any) -> tuple[Rule, ...]:
  """Rules of the head of a supervised objective, or of None."""
  if head is None:
    return ()
  return CTC if isinstance(head, LinearHead) else CLASSIFIER


def write(
  head: Any, arrays: Arrays, prefix: str, width: int
) -> tuple[Arrays, dict[str, Any]]:
  """All arrays of a model with a head, and fields of its config.json.

  Args:
    head: of a supervised objective.
    arrays: of the encoder, without a prefix, and of the head.
    prefix: of the encoder's names.
    width: D.

  Raises:
    InterchangeError: there is no such head there.
  """
  if isinstance(head, LinearHead):
    arrays = prefixed(arrays, prefix, ("lm_head.",))
    return arrays, {"vocab_size": head.num_outputs}
  for field, wanted in (("pool", "mean"), ("hidden", False), ("norm", False)):
    if getattr(head, field) != wanted:
      raise refuse(
        f"objective.head.{field}",
        getattr(head, field),
        f"a classifier there would need {wanted!r}",
      )
  arrays = prefixed(arrays, prefix, ("classifier.",))
  # There, a linear map comes before the mean: one that changes nothing.
  arrays["projector.weight"] = np.eye(width, dtype=np.float32)
  arrays["projector.bias"] = np.zeros(width, np.float32)
  return arrays, {"classifier_proj_size": width}
