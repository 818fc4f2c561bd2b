import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from d2v_jax.models.encoder import EncoderOutput
from d2v_jax.models.heads import LinearHead
from d2v_jax.models.pooled_head import PooledHead
from d2v_jax.models.vision import vit
from d2v_jax.objectives import losses
from d2v_jax.objectives.mixing import Mixing
from d2v_jax.objectives.supervised import Classification, Ctc, Regression
from d2v_jax.training import optimizer, schedules
from d2v_jax.training import state as train_state
from d2v_jax.training.step import train_step


def log_softmax(x):
  x = np.asarray(x, np.float64)
  x = x - x.max(-1, keepdims=True)
  return x - np.log(np.exp(x).sum(-1, keepdims=True))


def spelled(path):
  """Repeats once, then without blanks."""
  once = [x for x, _ in itertools.groupby(path)]
  return tuple(x for x in once if x)


def brute_force_ctc(logits, label):
  """-log of the summed probability of every path that spells the label."""
  log_p = log_softmax(logits)
  paths = itertools.product(range(log_p.shape[1]), repeat=len(log_p))
  scores = [
    sum(log_p[t, x] for t, x in enumerate(path))
    for path in paths
    if spelled(path) == tuple(label)
  ]
  return -np.log(np.exp(scores).sum()) if scores else np.inf


LABELS = [(), (1,), (2, 2), (1, 2), (1, 1, 2), (2, 1, 2), (1, 2, 3, 1)]


class TestCtcLoss:
  def rows(self, frames, dtype=np.float64):
    rng = np.random.default_rng(frames)
    logits = 2 * rng.normal(size=(len(LABELS), 5, 4)).astype(dtype)
    padding = np.arange(5) >= np.full((len(LABELS), 1), frames)
    labels = np.full((len(LABELS), 4), -1, np.int32)
    for row, label in zip(labels, LABELS, strict=True):
      row[: len(label)] = label
    return logits, padding, labels

  @pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
  def test_is_the_sum_over_all_alignments(self, frames):
    with jax.enable_x64(True):
      logits, padding, labels = self.rows(frames)
      logits[padding] = 1e3  # must not matter
      loss, feasible = jax.jit(losses.ctc_loss)(logits, padding, labels)
    expected = np.array(
      [
        brute_force_ctc(x[:frames], label)
        for x, label in zip(logits, LABELS, strict=True)
      ]
    )
    np.testing.assert_array_equal(feasible, np.isfinite(expected))
    expected = np.where(np.isfinite(expected), expected, 0)
    np.testing.assert_allclose(loss, expected, rtol=1e-9, atol=1e-9)

  def test_padding_none_and_low_precision(self):
    logits, padding, labels = self.rows(5, np.float32)
    loss, _ = losses.ctc_loss(jnp.asarray(logits, jnp.bfloat16), None, labels)
    wide = jnp.asarray(logits, jnp.bfloat16).astype(jnp.float32)
    expected, _ = losses.ctc_loss(wide, padding, labels)
    assert loss.dtype == jnp.float32
    np.testing.assert_array_equal(loss, expected)

  def test_no_gradient_of_padding_and_of_what_cannot_be_spelled(self):
    logits, padding, labels = self.rows(3, np.float32)

    def loss(x):
      return losses.ctc_loss(x, padding, labels)[0].sum()

    grad = np.asarray(jax.grad(loss)(logits))
    feasible = [True, True, True, True, False, True, False]
    expected = np.outer(feasible, np.arange(5) < 3)
    np.testing.assert_array_equal(np.abs(grad).max(-1) > 0, expected)

  def test_gradient_is_the_difference_quotient(self):
    with jax.enable_x64(True):
      logits, padding, labels = self.rows(4)

      @jax.jit
      def loss(x):
        return losses.ctc_loss(x, padding, labels)[0].sum()

      direction = np.random.default_rng(1).normal(size=logits.shape)
      along = (jax.grad(loss)(logits) * direction).sum()
      up, down = (
        loss(logits + 1e-6 * direction),
        loss(logits - 1e-6 * direction),
      )
      np.testing.assert_allclose(along, (up - down) / 2e-6, rtol=1e-7)

  def test_a_label_without_output(self):
    logits, padding, labels = self.rows(5)
    labels[2, 1] = 4
    loss, _ = losses.ctc_loss(logits, padding, labels)
    assert np.isnan(loss).tolist() == [i == 2 for i in range(7)]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(smoothing):
  rng = np.random.default_rng(0)
  logits, labels = rng.normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])
  target = (1 - smoothing) * np.eye(3)[labels] + smoothing / 3
  expected = -(target * log_softmax(logits)).sum(-1)
  loss = losses.cross_entropy(logits, labels, smoothing)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("label", [-1, 3])
def test_cross_entropy_of_a_class_that_is_not_there(label):
  loss = losses.cross_entropy(np.zeros((2, 3)), np.array([label, 0]))
  assert np.isnan(loss).tolist() == [True, False]


@dataclasses.dataclass(frozen=True)
class Fake:
  """One linear map per frame; a masked frame is zero."""

  width: int = 16
  dropout: float = 0.5

  def init(self, rng, batch):
    shape = (batch["inputs"].shape[-1], self.width)
    return {"blocks": {"kernel": jax.random.normal(rng, shape)}}

  def __call__(self, params, batch, *, mask=None, rng=None):
    inputs = batch["inputs"]
    if mask is not None:
      inputs = jnp.where(mask[..., None], 0, inputs)
    tokens = jnp.tanh(inputs @ params["blocks"]["kernel"])
    if rng is not None:
      tokens *= jax.random.bernoulli(rng, 1 - self.dropout, tokens.shape)
    none = jnp.zeros((0, *tokens.shape))
    return EncoderOutput(tokens, none, none, none, padding=batch.get("padding"))

  def prepare(self, batch):
    return {**batch, "inputs": jnp.asarray(batch["inputs"], jnp.float32)}


PATHS = ("11023033", "20111000", "31200000")


def utterances():
  """Noisy one-hot frames; the third row has more labels than frames."""
  rng = np.random.default_rng(0)
  paths = np.array([list(map(int, p)) for p in PATHS])
  inputs = 2 * np.eye(4)[paths] + 0.1 * rng.normal(size=(3, 8, 4))
  return {
    "inputs": inputs.astype(np.float32),
    "padding": np.arange(8) >= np.array([8, 5, 2])[:, None],
    "label": np.array([[1, 2, 3, 3], [2, 1, -1, -1], [3, 1, 2, -1]], np.int32),
  }


def fit(objective, batch, steps, rate, tx=None):
  """Losses and parameters of training on one batch."""
  schedule = schedules.constant(peak=rate, total_steps=steps)
  parts = {
    "objective": objective,
    "tx": tx or optimizer.adamw(schedule, weight_decay=0.0),
  }
  create = lambda: train_state.create(jax.random.key(0), batch, **parts)  # noqa: E731
  state = jax.jit(create)()
  start = state.params
  step = jax.jit(lambda s, b: train_step(s, b, schedule=schedule, **parts))
  metrics = []
  for _ in range(steps):
    state, values = step(state, batch)
    metrics.append({k: float(v) for k, v in values.items()})
  return metrics, start, state


class TestCtc:
  objective = Ctc(Fake(), LinearHead(4))

  def test_loss_by_hand(self):
    batch = utterances()
    params = self.objective.init(jax.random.key(0), batch)
    loss, weight, metrics = self.objective.loss(params, {}, batch, None)
    hidden = np.tanh(batch["inputs"] @ np.asarray(params["blocks"]["kernel"]))
    fc1 = jax.tree.map(np.asarray, params["head"]["fc1"])
    logits = hidden @ fc1["kernel"] + fc1["bias"]
    expected = brute_force_ctc(logits[0], (1, 2, 3, 3))
    expected += brute_force_ctc(logits[1][:5], (2, 1))
    # The row that cannot be spelled counts as an utterance all the same.
    np.testing.assert_allclose(loss, expected / 3, rtol=1e-5)
    np.testing.assert_allclose(metrics["infeasible"], 1 / 3, rtol=1e-6)
    assert weight == 3

  @pytest.mark.slow
  def test_learns_to_spell_and_predicts_paths(self):
    batch = utterances()
    metrics, _, state = fit(self.objective, batch, 60, 0.1)
    assert metrics[-1]["loss"] < 0.02 < 1 < metrics[0]["loss"]
    ids = self.objective.predict(state.params, batch)
    assert (ids.shape, ids.dtype) == ((3, 8), jnp.int32)
    assert [spelled(path) for path in ids.tolist()[:2]] == [
      (1, 2, 3, 3),
      (2, 1),
    ]
    assert not np.asarray(ids)[batch["padding"]].any()

  def test_without_padding(self):
    batch = utterances()
    del batch["padding"]
    params = self.objective.init(jax.random.key(0), batch)
    assert (
      self.objective.loss(params, {}, batch, None).metrics["infeasible"] == 0
    )
    ids = self.objective.predict(params, batch)
    logits = self.objective.encode(params, batch).tokens
    logits = self.objective.head(params["head"], logits)
    np.testing.assert_array_equal(ids, np.asarray(logits).argmax(-1))

  @pytest.mark.parametrize("padded", [True, False])
  def test_scores_are_log_probabilities(self, padded):
    batch = utterances()
    if not padded:
      del batch["padding"]
    params = self.objective.init(jax.random.key(0), batch)
    scores = self.objective.scores(params, batch)
    assert (scores.shape, scores.dtype) == ((3, 8, 4), jnp.float32)
    hidden = np.tanh(batch["inputs"] @ np.asarray(params["blocks"]["kernel"]))
    fc1 = jax.tree.map(np.asarray, params["head"]["fc1"])
    expected = log_softmax(hidden @ fc1["kernel"] + fc1["bias"])
    if padded:
      expected[batch["padding"]] = [0, -1e9, -1e9, -1e9]
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)
    predicted = self.objective.predict(params, batch)
    np.testing.assert_array_equal(predicted, scores.argmax(-1))

  @pytest.mark.slow
  def test_accumulation_is_one_batch(self):
    # Four utterances as two micro-batches, one of which is partly infeasible.
    batch = {k: v[[0, 1, 2, 0]] for k, v in utterances().items()}
    schedule = schedules.constant(peak=1e-2, total_steps=1)
    objective = Ctc(Fake(dropout=0.0), LinearHead(4))
    parts = {"objective": objective, "tx": optimizer.adamw(schedule)}
    state = train_state.create(jax.random.key(0), batch, **parts)
    whole, split = (
      train_step(state, batch, schedule=schedule, accumulate=n, **parts)[1]
      for n in (1, 2)
    )
    for name in ("loss", "infeasible", "grad_norm"):
      np.testing.assert_allclose(split[name], whole[name], rtol=1e-5)


def examples(kind=np.int32):
  rng = np.random.default_rng(3)
  return {
    "inputs": rng.normal(size=(6, 3, 4)).astype(np.float32),
    "padding": np.arange(3) >= np.array([3, 3, 2, 1, 3, 2])[:, None],
    "label": np.array([0, 1, 2, 0, 1, 2], kind),
  }


def outputs(params, batch):
  """Of Fake and PooledHead, in float64."""
  params = jax.tree.map(lambda p: np.asarray(p, np.float64), params)
  hidden = np.tanh(batch["inputs"] @ params["blocks"]["kernel"])
  lengths = (~batch["padding"]).sum(1)
  mean = [x[:n].mean(0) for x, n in zip(hidden, lengths, strict=True)]
  fc1 = params["head"]["fc1"]
  return np.stack(mean) @ fc1["kernel"] + fc1["bias"]


class TestClassification:
  def test_loss_and_predictions_by_hand(self):
    objective = Classification(Fake(), PooledHead(3), label_smoothing=0.1)
    batch = examples()
    params = objective.init(jax.random.key(0), batch)
    loss, weight, metrics = objective.loss(params, {}, batch, None)
    logits = outputs(params, batch)
    target = 0.9 * np.eye(3)[batch["label"]] + 0.1 / 3
    expected = -(target * log_softmax(logits)).sum(-1).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    classes = objective.predict(params, batch)
    assert classes.dtype == jnp.int32
    np.testing.assert_array_equal(classes, logits.argmax(1))
    scores = objective.scores(params, batch)
    assert scores.dtype == jnp.float32
    np.testing.assert_allclose(scores, logits, rtol=1e-5, atol=1e-6)
    share = (logits.argmax(1) == batch["label"]).mean()
    np.testing.assert_allclose(metrics["accuracy"], share, rtol=1e-6)
    assert weight == 6

  @pytest.mark.slow
  def test_a_vit_learns_a_handful_of_digits(self):
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images[:10].reshape(10, 8, 8, 1) / 16 - 0.31) / 0.37
    batch = {
      "inputs": images.astype(np.float32),
      "label": labels[:10].astype(np.int32),
    }
    network = vit(
      image_size=8, patch_size=2, width=16, depth=2, num_heads=2, layer_scale=0
    )
    objective = Classification(network, PooledHead(10, pool="mean"))
    metrics, _, state = fit(objective, batch, 200, 1e-2)
    assert metrics[0]["accuracy"] < 0.5
    assert metrics[0]["loss"] > 2
    assert metrics[-1]["accuracy"] == 1
    assert metrics[-1]["loss"] < 0.1
    predicted = objective.predict(state.params, batch)
    np.testing.assert_array_equal(predicted, batch["label"])
    assert state.teacher_params == {}


@dataclasses.dataclass(frozen=True)
class FakeMixing:
  """Halves the inputs; the partner is the next; weights are given."""

  weights: tuple[float, ...]

  def __call__(self, rng, inputs, labels):
    return inputs / 2, jnp.roll(labels, -1), jnp.array(self.weights)


class TestMixing:
  weights = (0.9, 0.1, 0.5, 0.0, 1.0, 0.4)

  def test_loss_by_hand(self):
    objective = Classification(
      Fake(dropout=0.0), PooledHead(3), 0.1, FakeMixing(self.weights)
    )
    batch = examples()
    params = objective.init(jax.random.key(0), batch)
    loss, weight, metrics = objective.loss(params, {}, batch, jax.random.key(0))
    logits = outputs(params, {**batch, "inputs": batch["inputs"] / 2})
    # timm: both labels smoothed, then mixed.
    labels = batch["label"], np.roll(batch["label"], -1)
    own, other = (np.full((6, 3), 0.1 / 3) for _ in range(2))
    for target, label in zip((own, other), labels, strict=True):
      target[np.arange(6), label] = 1 - 0.1 + 0.1 / 3
    weight = np.array(self.weights)[:, None]
    target = weight * own + (1 - weight) * other
    expected = -(target * log_softmax(logits)).sum(-1).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    larger = np.where(np.array(self.weights) >= 0.5, *labels)
    share = (logits.argmax(1) == larger).mean()
    np.testing.assert_allclose(metrics["accuracy"], share, rtol=1e-6)

  def test_not_without_a_key(self):
    batch = examples()
    mixed, plain = (
      Classification(Fake(), PooledHead(3), mixing=m)
      for m in (FakeMixing(self.weights), None)
    )
    params = plain.init(jax.random.key(0), batch)
    assert mixed.loss(params, {}, batch, None) == plain.loss(
      params, {}, batch, None
    )

  @pytest.mark.slow
  def test_bytes_in_micro_batches(self):
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    batch = {"inputs": images, "label": np.arange(6, dtype=np.int32)}
    network = vit(
      image_size=8, patch_size=4, width=8, depth=1, num_heads=2, layer_scale=0
    )
    objective = Classification(network, PooledHead(6), mixing=Mixing())
    schedule = schedules.constant(peak=1e-2, total_steps=1)
    parts = {"objective": objective, "tx": optimizer.adamw(schedule)}

    def run(batch):
      state = train_state.create(jax.random.key(0), batch, **parts)
      return train_step(state, batch, schedule=schedule, accumulate=2, **parts)[
        1
      ]

    assert jax.eval_shape(run, batch)["loss"].shape == ()
    params = jax.jit(objective.init)(jax.random.key(0), batch)
    loss = jax.jit(objective.loss)(params, {}, batch, jax.random.key(1)).value
    assert np.isfinite(loss)

  def test_is_for_images(self):
    objective = Classification(Fake(), PooledHead(3), mixing=Mixing())
    batch = examples()
    params = objective.init(jax.random.key(0), batch)
    with pytest.raises(
      ValueError, match=r"must be normalised images.*\[6, 3, 4"
    ):
      objective.loss(params, {}, batch, jax.random.key(0))


class TestFrozen:
  objective = Classification(Fake(), PooledHead(3), frozen=True)

  def test_only_the_head_has_gradients(self):
    batch = examples()
    params = self.objective.init(jax.random.key(0), batch)
    free = dataclasses.replace(self.objective, frozen=False)

    def gradient(objective, rng):
      return jax.grad(lambda p: objective.loss(p, {}, batch, rng).value)(params)

    frozen = gradient(self.objective, jax.random.key(1))
    assert not np.any(frozen["blocks"]["kernel"])
    # As without dropout, which the frozen encoder does not have.
    expected = gradient(free, None)
    assert np.any(expected["blocks"]["kernel"])
    for a, b in zip(
      *map(jax.tree.leaves, (frozen["head"], expected["head"])), strict=True
    ):
      np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)

  def test_probing_moves_the_head_alone(self):
    schedule = schedules.constant(peak=0.05, total_steps=10)
    tx = optimizer.adamw(schedule, weight_decay=0.1, freeze_steps=10)
    metrics, start, state = fit(self.objective, examples(), 10, 0.05, tx)
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    np.testing.assert_array_equal(
      state.params["blocks"]["kernel"], start["blocks"]["kernel"]
    )


class TestRegression:
  objective = Regression(Fake(), PooledHead(1))

  @pytest.mark.parametrize("kind", [np.float32, np.int32])
  def test_loss_and_predictions_by_hand(self, kind):
    batch = examples(kind)
    params = self.objective.init(jax.random.key(0), batch)
    loss, weight, metrics = self.objective.loss(params, {}, batch, None)
    score = outputs(params, batch)[:, 0]
    expected = ((score - batch["label"]) ** 2).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    predicted = self.objective.predict(params, batch)
    assert predicted.dtype == jnp.float32
    np.testing.assert_allclose(predicted, score, rtol=1e-5, atol=1e-6)
    assert (weight, metrics) == (6, {})

  def test_learns(self):
    metrics, _, _ = fit(self.objective, examples(np.float32), 60, 0.05)
    assert metrics[-1]["loss"] < 0.05 < 0.5 < metrics[0]["loss"]


OF_EACH = [
  (Ctc(Fake(), LinearHead(4)), utterances()),
  (Classification(Fake(), PooledHead(3)), examples()),
  (Regression(Fake(), PooledHead(1)), examples(np.float32)),
]


@pytest.mark.parametrize(
  ("objective", "batch"), OF_EACH, ids=lambda x: type(x).__name__
)
class TestAll:
  def test_protocol(self, objective, batch):
    params = objective.init(jax.random.key(0), batch)
    assert sorted(params) == ["blocks", "head"]
    assert objective.fresh == ("head",)
    assert objective.init_teacher(params) == {}
    assert objective.update_teacher({}, params, 1) == ({}, {})
    np.testing.assert_array_equal(
      objective.encode(params, batch).tokens,
      objective.encoder(params, batch).tokens,
    )

  def test_mask_and_dropout_in_training_only(self, objective, batch):
    params = objective.init(jax.random.key(0), batch)
    mask = np.zeros(batch["padding"].shape, bool)
    mask[:, 0] = True
    masked = {**batch, "mask": mask}
    hidden = {
      **batch,
      "inputs": np.where(mask[..., None], 0, batch["inputs"]),
    }
    loss = lambda b, rng=None: objective.loss(params, {}, b, rng).value  # noqa: E731
    assert loss(masked) == loss(hidden) != loss(batch)
    assert loss(batch, jax.random.key(0)) != loss(batch, jax.random.key(1))
    np.testing.assert_array_equal(
      objective.predict(params, masked), objective.predict(params, batch)
    )

  def test_labels_that_do_not_fit(self, objective, batch):
    params = objective.init(jax.random.key(0), batch)
    name = type(objective).__name__
    without = {k: v for k, v in batch.items() if k != "label"}
    with pytest.raises(ValueError, match=f"{name}: the batch has no `label`"):
      objective.loss(params, {}, without, None)
    other = np.zeros((len(batch["inputs"]), 2, 2), np.float32)
    with pytest.raises(
      ValueError, match=rf"{name}: labels must be .* got float32 \[\d, 2, 2\]"
    ):
      objective.loss(params, {}, {**batch, "label": other}, None)


def test_fine_tuning_with_everything_but_the_head_frozen():
  objective, batch = OF_EACH[1]
  schedule = schedules.constant(peak=0.05, total_steps=10)
  tx = optimizer.adamw(schedule, freeze_steps=10)
  metrics, start, state = fit(objective, batch, 10, 0.05, tx)
  assert metrics[-1]["loss"] < metrics[0]["loss"]
  np.testing.assert_array_equal(
    state.params["blocks"]["kernel"], start["blocks"]["kernel"]
  )
  change = optax.tree.sub(state.params["head"], start["head"])
  assert all(abs(x).min() > 0 for x in jax.tree.leaves(change))


def test_errors():
  with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\)"):
    Classification(Fake(), PooledHead(2), label_smoothing=1.0)
  with pytest.raises(ValueError, match=r"one output, got head\.num_outputs=3"):
    Regression(Fake(), PooledHead(3))
