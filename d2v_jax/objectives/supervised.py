"""Learning from labels: characters by CTC, classes, scores. No teacher.

Source: data2vec sections 4.2 and 4.3 (fine-tuning) and the released code.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from d2v_jax.models.encoder import Encoder, EncoderOutput
from d2v_jax.models.heads import LinearHead
from d2v_jax.models.pooled_head import PooledHead
from d2v_jax.objectives import losses
from d2v_jax.objectives.mixing import Mixing
from d2v_jax.objectives.objective import Batch, Loss, Objective, Params


@dataclasses.dataclass(frozen=True)
class Supervised(Objective):
  """What objectives that learn from labels share.

  Attributes:
    encoder: the network.
    head: maps its tokens to outputs. That of data2vec is of no use here, so a
      run that starts from data2vec's student begins it anew.
  """

  encoder: Encoder
  head: LinearHead | PooledHead

  fresh: ClassVar[tuple[str, ...]] = ("head",)

  def init(self, rng: jax.Array, batch: Batch) -> Params:
    """Fresh parameters: the encoder's sub-trees and `head`."""
    encoder_rng, head_rng = jax.random.split(rng)
    params = self.encoder.init(encoder_rng, batch)
    tokens = self.encoder(params, batch).tokens
    return {**params, "head": self.head.init(head_rng, tokens)}

  def encode_masked(
    self, params: Params, batch: Batch, rng: jax.Array | None
  ) -> EncoderOutput:
    """The encoder's output in training, with the batch's mask if it has one."""
    return self.encoder(params, batch, mask=batch.get("mask"), rng=rng)

  def labels_of(self, batch: Batch, ndim: int, kind: type) -> jax.Array:
    """The batch's labels.

    Raises:
      ValueError: there are none, or they have other axes or another type.
    """
    name, shape = type(self).__name__, ("[B]", "[B, U]")[ndim - 1]
    if "label" not in batch:
      raise ValueError(
        f"{name}: the batch has no `label`; set config.data.labels."
      )
    label = batch["label"]
    if label.ndim != ndim or not jnp.issubdtype(label.dtype, kind):
      raise ValueError(
        f"{name}: labels must be {kind.__name__} {shape}, got {label.dtype} "
        f"{list(label.shape)}; change config.data.labels or "
        "config.objective.name."
      )
    return label


@dataclasses.dataclass(frozen=True)
class Ctc(Supervised):
  """Transcription: the characters in order, each over any number of frames.

  Source: Graves et al. 2006; the released speech code, fine-tuning.
  """

  head: LinearHead

  def loss(
    self,
    params: Params,
    teacher_params: Params,
    batch: Batch,
    rng: jax.Array | None,
  ) -> Loss:
    """Mean CTC loss of the utterances of the global batch.

    Args:
      params: the network's.
      teacher_params: {}.
      batch: `inputs`, `label` [B, U] int filled with -1, `mask` [B, N] if
        frames are hidden, and what the modality needs.
      rng: key for dropout; None for none.

    Returns:
      The mean. `infeasible` is the share of utterances with more labels than
      their frames can spell; their loss counts as 0.
    """
    label = self.labels_of(batch, 2, jnp.integer)  # [B, U]
    output = self.encode_masked(params, batch, rng)
    logits = self.head(params["head"], output.tokens)  # [B, N, V]
    loss, feasible = losses.ctc_loss(logits, output.padding, label)  # [B]
    metrics = {"infeasible": 1 - feasible.mean(dtype=loss.dtype)}
    return Loss(loss.mean(), jnp.asarray(len(label), loss.dtype), metrics)

  def predict(self, params: Params, batch: Batch) -> jax.Array:
    """Likeliest output of each frame, [B, N] int32; blank (0) at padding."""
    output = self.encoder(params, batch)
    ids = self.head(params["head"], output.tokens).argmax(-1)  # [B, N]
    if output.padding is not None:
      ids = jnp.where(output.padding, 0, ids)
    return ids.astype(jnp.int32)

  def scores(self, params: Params, batch: Batch) -> jax.Array:
    """Log-probabilities of each frame, [B, N, V] float32.

    At padding that of the blank (0) is 0, and the others' are -1e9.
    """
    output = self.encoder(params, batch)
    logits = self.head(params["head"], output.tokens).astype(jnp.float32)
    log_p = jax.nn.log_softmax(logits)  # [B, N, V]
    if output.padding is None:
      return log_p
    blank = jnp.where(jnp.arange(log_p.shape[-1]), -1e9, 0.0)  # [V]
    return jnp.where(output.padding[..., None], blank, log_p)


@dataclasses.dataclass(frozen=True)
class OfExamples(Supervised):
  """What objectives share that score classes of whole examples.

  Attributes:
    frozen: only the head learns (probing): the encoder runs as in evaluation
      and its gradients are 0. So that weight decay does not move its weights,
      a run from a config has the optimizer freeze them, too.
  """

  head: PooledHead
  frozen: bool = dataclasses.field(default=False, kw_only=True)

  def logits(
    self, params: Params, batch: Batch, rng: jax.Array | None
  ) -> jax.Array:
    """Logits [B, C] in training, in the compute dtype."""
    if self.frozen:
      head = params["head"]
      params, rng = {**jax.lax.stop_gradient(params), "head": head}, None
    output = self.encode_masked(params, batch, rng)
    return self.head(params["head"], output.tokens, output.padding)

  def scores(self, params: Params, batch: Batch) -> jax.Array:
    """Logits of each example, [B, C] float32."""
    output = self.encoder(params, batch)
    logits = self.head(params["head"], output.tokens, output.padding)
    return logits.astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class Classification(OfExamples):
  """One class per example, by cross entropy.

  Attributes:
    label_smoothing: share of the target that is spread over all classes.
    mixing: mixes the examples in training, and their labels with them.
  """

  label_smoothing: float = 0.0
  mixing: Mixing | None = None

  def __post_init__(self) -> None:
    if not 0 <= self.label_smoothing < 1:
      raise ValueError(
        "Classification: label_smoothing must be in [0, 1), got "
        f"{self.label_smoothing}."
      )

  def loss(
    self,
    params: Params,
    teacher_params: Params,
    batch: Batch,
    rng: jax.Array | None,
  ) -> Loss:
    """Mean cross entropy of the global batch, and its accuracy.

    Where examples are mixed, the cross entropies with both labels count as much
    as these do in the mixture, and the accuracy is that of the label which
    counts more.

    Args:
      params: the network's.
      teacher_params: {}.
      batch: `inputs`, `label` [B] int, `mask` [B, N] if tokens are hidden, and
        what the modality needs.
      rng: key for dropout and mixing; None for neither.
    """
    label = self.labels_of(batch, 1, jnp.integer)  # [B]
    other, weight = label, None
    if self.mixing is not None and rng is not None:
      mixing_rng, rng = jax.random.split(rng)
      batch = self.encoder.prepare(batch)
      inputs, other, weight = self.mixing(mixing_rng, batch["inputs"], label)
      batch = {**batch, "inputs": inputs}
    logits = self.logits(params, batch, rng)  # [B, C]
    loss = losses.cross_entropy(logits, label, self.label_smoothing)  # [B]
    if weight is not None:
      second = losses.cross_entropy(logits, other, self.label_smoothing)
      loss = weight * loss + (1 - weight) * second
      label = jnp.where(weight >= 0.5, label, other)
    loss = loss.mean()
    correct = logits.argmax(-1) == label  # [B]
    metrics = {"accuracy": correct.mean(dtype=loss.dtype)}
    return Loss(loss, jnp.asarray(len(label), loss.dtype), metrics)

  def predict(self, params: Params, batch: Batch) -> jax.Array:
    """Likeliest class of each example, [B] int32."""
    return self.scores(params, batch).argmax(-1).astype(jnp.int32)


@dataclasses.dataclass(frozen=True)
class Regression(Supervised):
  """One score per example, by squared error; the head has one output."""

  head: PooledHead

  def __post_init__(self) -> None:
    if self.head.num_outputs != 1:
      raise ValueError(
        "Regression: the head must have one output, got head.num_outputs="
        f"{self.head.num_outputs}; set it to 1."
      )

  def loss(
    self,
    params: Params,
    teacher_params: Params,
    batch: Batch,
    rng: jax.Array | None,
  ) -> Loss:
    """Mean squared error of the global batch.

    Args:
      params: the network's.
      teacher_params: {}.
      batch: `inputs`, `label` [B], `mask` [B, N] if tokens are hidden, and
        what the modality needs.
      rng: key for dropout; None for none.
    """
    label = self.labels_of(batch, 1, jnp.number)  # [B]
    output = self.encode_masked(params, batch, rng)
    score = self.head(params["head"], output.tokens, output.padding)[:, 0]
    loss = losses.regression_loss(score, label, beta=0.0).mean()
    return Loss(loss, jnp.asarray(len(label), loss.dtype), {})

  def predict(self, params: Params, batch: Batch) -> jax.Array:
    """Score of each example, [B] float32."""
    output = self.encoder(params, batch)
    score = self.head(params["head"], output.tokens, output.padding)[:, 0]
    return score.astype(jnp.float32)
