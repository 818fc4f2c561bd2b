"""What an objective is: everything that a run asks of it."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol

import jax

from d2v_jax.models.encoder import Encoder, EncoderOutput

Params = dict[str, Any]
Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
Predict = Callable[[Params, Batch], jax.Array]


class Loss(NamedTuple):
  """A loss, and how much it counts among those of other micro-batches.

  Attributes:
    value: scalar mean over the global batch; its gradient trains.
    weight: scalar, how many tokens or examples it is a mean over.
    metrics: scalars for the log, without gradient. `target_std` and
      `prediction_std` stop a run that has collapsed (`config.health`).
  """

  value: jax.Array
  weight: jax.Array
  metrics: Metrics


class Regressed(NamedTuple):
  """What an objective regresses of a batch, and what it predicts.

  Attributes:
    targets: [B, N, P], without gradient.
    predictions: [B * M, N, P], the M masks of an example next to each other.
    mask: [B * M, N] bool, True where both are compared.
  """

  targets: jax.Array
  predictions: jax.Array
  mask: jax.Array


class Objective(Protocol):
  """What is learned, as pure functions that are compiled.

  A new one is a frozen dataclass that names this class as its base, has the
  field `encoder` and defines `init` and `loss`. What else is here holds for an
  objective without a teacher that predicts nothing; others define it anew.

  Attributes:
    encoder: the network.
    fresh: sub-trees of parameters that a run begins anew which starts from the
      student of another run.
  """

  encoder: Encoder
  fresh: ClassVar[tuple[str, ...]] = ()

  @property
  def frozen(self) -> bool:
    """Whether nothing but the head is learned.

    Its gradients are 0 then; that weight decay does not move the other weights
    is up to the optimizer.
    """
    return False

  @property
  def predict(self) -> Predict | None:
    """(params, batch) -> predictions [B] or [B, N]; None: it makes none."""
    return None

  @property
  def scores(self) -> Predict | None:
    """(params, batch) -> scores [B, C] or [B, N, V]; None: it makes none."""
    return None

  @abc.abstractmethod
  def init(self, rng: jax.Array, batch: Batch) -> Params:
    """Fresh parameters of the student.

    Args:
      rng: the only source of randomness.
      batch: only shapes and dtypes matter.

    Returns:
      The encoder's sub-trees, and those of the objective's own parts.
    """

  def init_teacher(self, params: Params) -> Params:
    """The sub-trees that the teacher has of its own; {} without a teacher."""
    return {}

  @abc.abstractmethod
  def loss(
    self,
    params: Params,
    teacher_params: Params,
    batch: Batch,
    rng: jax.Array | None,
  ) -> Loss:
    """What training makes smaller.

    Args:
      params: the student's; no other argument gets a gradient.
      teacher_params: the teacher's own sub-trees.
      batch: arrays [B, ...] of the global batch.
      rng: key for dropout and other noise; None for none.
    """

  def regressed(
    self, params: Params, teacher_params: Params, batch: Batch
  ) -> Regressed | None:
    """What is regressed and predicted, without dropout; None: no tokens are.

    Not asked for in training, but to see how it goes.

    Args:
      params: the student's.
      teacher_params: the teacher's own sub-trees.
      batch: arrays [B, ...] as for `loss`.
    """
    return None

  def update_teacher(
    self, teacher_params: Params, params: Params, step: jax.Array
  ) -> tuple[Params, Metrics]:
    """The teacher after `step` completed updates, and scalars for the log."""
    return {}, {}

  def encode(self, params: Params, batch: Batch) -> EncoderOutput:
    """Features of the whole input without dropout, for evaluation."""
    return self.encoder(params, batch)


def split(rng: jax.Array | None) -> tuple[jax.Array | None, jax.Array | None]:
  """Two keys of one; no keys where there is no randomness."""
  if rng is None:
    return None, None
  first, second = jax.random.split(rng)
  return first, second
