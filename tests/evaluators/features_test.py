import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from d2v_jax.evaluators import EVALUATORS, evaluate
from d2v_jax.evaluators.effective_rank import EffectiveRank
from d2v_jax.evaluators.feature_extractor import FeatureExtractor
from d2v_jax.evaluators.features import (
  Features,
  Predictions,
  labelled,
  pool_features,
  token_features,
)
from d2v_jax.evaluators.knn import Knn
from d2v_jax.evaluators.linear_probe import LinearProbe


class Output(NamedTuple):
  tokens: jax.Array
  block: jax.Array
  cls: jax.Array | None = None
  block_cls: jax.Array | None = None
  padding: jax.Array | None = None


def make_output(cls=True, dtype=np.float32, seed=0):
  rng = np.random.default_rng(seed)
  tokens, block = rng.normal(size=(3, 5, 4)), rng.normal(size=(6, 3, 5, 4))
  arrays = [tokens, block]
  if cls:
    arrays += [rng.normal(size=(3, 4)), rng.normal(size=(6, 3, 4))]
  return Output(*(jnp.asarray(a, dtype) for a in arrays))


class TestFeatures:
  def test_list_of_layers_from_a_config_is_hashable(self):
    assert hash(Features(layers=[-1, -2])) == hash(Features(layers=(-1, -2)))
    assert hash(Features(pool=["mean"])) == hash(Features(pool=("mean",)))

  @pytest.mark.parametrize(
    ("kwargs", "message"),
    [
      ({"model": "ema"}, "unknown model 'ema'; choose one of: teacher, stud"),
      ({"pool": "max"}, "unknown pool 'max'; choose one of: mean, cls"),
      ({"pool": ()}, r"pool is \(\); give one, such as 'mean', or several"),
      ({"pool": ("mean", "max")}, "unknown pool 'max'; choose one of: mean, c"),
      ({"layers": ()}, r"layers is \(\); give at least one layer in a tuple"),
      ({"layers": 3}, r"layers is 3; give at least one layer in a tuple"),
      ({"layers": "best"}, r"layers is 'best'; .* final output, or 'all'"),
    ],
  )
  def test_errors(self, kwargs, message):
    with pytest.raises(ValueError, match=message):
      Features(**kwargs)

  @pytest.mark.parametrize("split", ["val", "tests", ""])
  def test_a_split_that_cannot_be(self, split):
    with pytest.raises(
      ValueError, match=f"Predictions: unknown split {split!r}; choose train, t"
    ):
      Predictions(split)


class TestPoolFeatures:
  def test_final_output(self):
    output = make_output()
    mean = np.asarray(output.tokens, np.float64).mean(1)
    np.testing.assert_allclose(
      pool_features(output, Features()), mean, rtol=0, atol=1e-6
    )
    np.testing.assert_array_equal(
      pool_features(output, Features(pool="cls")), output.cls
    )

  @pytest.mark.parametrize("layers", [(0,), (5,), (-1,), (-1, -2, 3), (-6, 5)])
  def test_average_of_layers(self, layers):
    output = make_output()
    block = np.asarray(output.block, np.float64)
    cls = np.asarray(output.block_cls, np.float64)
    np.testing.assert_allclose(
      pool_features(output, Features(layers=layers)),
      sum(block[i].mean(1) for i in layers) / len(layers),
      rtol=0,
      atol=1e-6,
    )
    np.testing.assert_allclose(
      pool_features(output, Features(layers=layers, pool="cls")),
      sum(cls[i] for i in layers) / len(layers),
      rtol=0,
      atol=1e-6,
    )

  @pytest.mark.parametrize("pool", ["mean", "cls", "mean_std", "segments:2"])
  @pytest.mark.parametrize("padded", [False, True])
  def test_all_layers_and_the_final_output(self, pool, padded):
    output = make_output()
    if padded:
      padding = np.arange(5) >= np.array([5, 2, 1])[:, None]
      output = output._replace(padding=jnp.asarray(padding))
    choices = [*((i,) for i in range(6)), None]
    alone = [
      pool_features(output, Features("teacher", c, pool)) for c in choices
    ]
    together = pool_features(output, Features("teacher", "all", pool))
    np.testing.assert_array_equal(together, np.stack(alone, 1))
    assert together.shape == (3, 7, 4 if pool in ("mean", "cls") else 8)

  @pytest.mark.parametrize("layers", [None, (1, -1)])
  def test_mean_leaves_padding_out(self, layers):
    lengths = [5, 2, 1]
    padding = np.arange(5) >= np.array(lengths)[:, None]
    output = make_output()
    # What stands at padded positions must not matter, whatever it is.
    output = output._replace(
      padding=jnp.asarray(padding),
      tokens=jnp.where(padding[..., None], jnp.nan, output.tokens),
      block=jnp.where(padding[..., None], jnp.inf, output.block),
    )
    values = np.asarray(
      output.tokens if layers is None else output.block[jnp.array(layers)],
      np.float64,
    )
    if layers is not None:
      values = values.mean(0)
    expected = [values[i, :n].mean(0) for i, n in enumerate(lengths)]
    np.testing.assert_allclose(
      pool_features(output, Features(layers=layers)),
      expected,
      rtol=0,
      atol=1e-6,
    )

  def test_row_of_padding_alone_is_finite(self):
    output = make_output()._replace(padding=jnp.ones((3, 5), bool))
    assert np.isfinite(pool_features(output, Features())).all()

  @pytest.mark.parametrize("layers", [None, (0, 1)])
  @pytest.mark.parametrize("pool", ["mean", "cls"])
  def test_low_precision_is_averaged_in_float32(self, layers, pool):
    output = make_output(dtype=jnp.bfloat16)
    features = Features(layers=layers, pool=pool)
    got = pool_features(output, features)
    assert got.dtype == jnp.float32
    wide = jax.tree.map(lambda a: a.astype(jnp.float32), output)
    np.testing.assert_array_equal(got, pool_features(wide, features))

  @pytest.mark.parametrize("layer", [6, -7])
  def test_layer_out_of_range(self, layer):
    with pytest.raises(
      ValueError, match=f"layer {layer} is out of range.* depth 6, .*-6 to 5"
    ):
      pool_features(make_output(), Features(layers=(0, layer)))

  @pytest.mark.parametrize("layers", [None, (0,)])
  def test_no_cls_token(self, layers):
    with pytest.raises(ValueError, match=r"pool is \('cls', 'mean'\), and th"):
      pool_features(make_output(), Features(pool=("cls", "mean")))
    with pytest.raises(ValueError, match="no CLS token; use pool='mean'"):
      pool_features(make_output(cls=False), Features(layers=layers, pool="cls"))


class TestTokenFeatures:
  @pytest.mark.parametrize("layers", [None, (1, -1), "all"])
  def test_each_token_by_itself(self, layers):
    output = make_output()
    values, sizes = token_features(output, Features(layers=layers))
    tokens, block = np.asarray(output.tokens), np.asarray(output.block)
    expected = {
      None: tokens,
      (1, -1): block[[1, -1]].mean(0),
      "all": np.stack([*block, tokens], 2),  # [B, N, L + 1, D]
    }[layers]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6)
    assert sizes.tolist() == [5, 5, 5]

  def test_sizes_are_the_tokens_before_padding(self):
    padding = np.arange(5) >= np.array([5, 2, 1])[:, None]
    output = make_output()._replace(padding=jnp.asarray(padding))
    values, sizes = token_features(output, Features())
    assert sizes.tolist() == [5, 2, 1]
    np.testing.assert_array_equal(values[1, :2], output.tokens[1, :2])


def encode(params, batch, rng=None):
  tokens = jnp.tanh(batch["inputs"] @ params["embed"]) @ params["encoder"]
  return Output(tokens, tokens[None])


def make_params(seed=0):
  rng = np.random.default_rng(seed)
  shapes = {"embed": (7, 16), "encoder": (16, 8)}
  return {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()}


PARAMS = make_params()
# The teacher shares the sub-trees it has none of its own for.
TEACHER_PARAMS = {"encoder": make_params(1)["encoder"]}


def make_split(n, seed=0, labels=True):
  rng = np.random.default_rng(seed)
  split = {"inputs": rng.normal(size=(n, 3, 7)).astype(np.float32)}
  if labels:
    split["label"] = np.arange(n, dtype=np.int32)
  return split


def make_batches(splits, size=8):
  """As a pipeline does: the last batch is filled, with anything."""

  def batches(split):
    arrays = splits[split]
    n = len(arrays["inputs"])
    for start in range(0, n, size):
      rows = np.arange(start, start + size)
      batch = {k: v[rows % n] for k, v in arrays.items()}
      yield {**batch, "valid": rows < n}

  return batches


def to_devices(batch):
  mesh = jax.make_mesh(
    (jax.device_count(),), ("data",), axis_types=(AxisType.Auto,)
  )
  return jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data")))


def make_extractor(arrays, encode=encode, **kwargs):
  return FeatureExtractor(encode, make_batches(arrays), to_devices, **kwargs)


class TestFeatureExtractor:
  def test_train_and_test_are_one_function(self):
    traces = []

    def counted(params, batch, rng=None):
      traces.append(batch["inputs"].shape)
      return encode(params, batch, rng)

    images = make_split(21)
    extractor = make_extractor({"train": images, "test": images}, counted)
    splits = extractor(PARAMS, TEACHER_PARAMS, Features())
    extractor(make_params(2), TEACHER_PARAMS, Features())
    np.testing.assert_array_equal(splits["train"][0], splits["test"][0])
    np.testing.assert_array_equal(splits["train"][1], splits["test"][1])
    assert traces == [(8, 3, 7)]

  def test_split_and_other_rows_do_not_change_a_feature(self):
    images = make_split(24)
    permuted = np.random.default_rng(1).permutation(24)[:19]
    subset = {k: v[permuted] for k, v in images.items()}
    extractor = make_extractor({"train": images, "test": subset})
    splits = extractor(PARAMS, TEACHER_PARAMS, Features())
    np.testing.assert_array_equal(
      splits["train"][0][permuted], splits["test"][0]
    )

  def test_fill_rows_are_dropped_and_rows_stay_aligned(self):
    splits = {"train": make_split(21), "test": make_split(8, seed=1)}
    extracted = make_extractor(splits)(PARAMS, TEACHER_PARAMS, Features())
    assert list(extracted) == ["train", "test"]
    for name, (x, y) in extracted.items():
      hidden = np.tanh(splits[name]["inputs"].astype(float) @ PARAMS["embed"])
      expected = (hidden @ TEACHER_PARAMS["encoder"]).mean(1)
      np.testing.assert_allclose(x, expected, rtol=0, atol=1e-5)
      np.testing.assert_array_equal(y, splits[name]["label"])
      assert (x.dtype, y.dtype) == (np.float32, np.int32)

  def test_batches_without_valid_are_whole(self):
    arrays = make_split(8)
    extractor = FeatureExtractor(
      encode, lambda split: [arrays], to_devices, splits=("test",)
    )
    x, y = extractor(PARAMS, {}, Features())["test"]
    assert (x.shape, y.shape) == ((8, 8), (8,))

  @pytest.mark.parametrize(
    ("model", "teacher_params", "expected"),
    [
      ("student", TEACHER_PARAMS, PARAMS),
      ("teacher", TEACHER_PARAMS, {**PARAMS, **TEACHER_PARAMS}),
      ("teacher", {}, PARAMS),
    ],
  )
  def test_student_and_teacher(self, model, teacher_params, expected):
    arrays = make_split(8)
    extractor = make_extractor({"test": arrays}, splits=("test",))
    x, _ = extractor(PARAMS, teacher_params, Features(model=model))["test"]
    tokens = np.tanh(arrays["inputs"].astype(float) @ expected["embed"])
    np.testing.assert_allclose(
      x, (tokens @ expected["encoder"]).mean(1), rtol=0, atol=1e-5
    )

  def test_no_labels(self):
    splits = {"test": make_split(5, labels=False)}
    extractor = make_extractor(splits, splits=("test",))
    x, y = extractor(PARAMS, {}, Features())["test"]
    assert x.shape == (5, 8)
    assert y is None

  def test_several_poolings_of_one_pass(self):
    traces = []

    def counted(params, batch, rng=None):
      traces.append(batch["inputs"].shape)
      return encode(params, batch, rng)

    splits = {"train": make_split(21), "test": make_split(8, seed=1)}
    extractor = make_extractor(splits, counted)
    pools = ("mean", "mean_std", "segments:3")
    together = extractor(PARAMS, TEACHER_PARAMS, Features(pool=pools))
    assert traces == [(8, 3, 7)]
    assert list(together) == [f"{s}/{p}" for s in splits for p in pools]
    for pool in pools:
      alone = extractor(PARAMS, TEACHER_PARAMS, Features(pool=pool))
      for split, (x, y) in alone.items():
        got_x, got_y = together[f"{split}/{pool}"]
        np.testing.assert_allclose(got_x, x, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(got_y, y)
        assert len(x) == len(y)

  def test_images_have_a_grid(self):
    arrays = {"test": make_split(8)}
    extractor = make_extractor(arrays, splits=("test",), grid=(1, 3))
    x, _ = extractor(PARAMS, {}, Features(pool="tokens"))["test"]
    hidden = np.tanh(arrays["test"]["inputs"].astype(float) @ PARAMS["embed"])
    expected = (hidden @ PARAMS["encoder"]).reshape(8, -1)
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"Features: pool 'cells:2' asks for"):
      extractor(PARAMS, {}, Features(pool="cells:2"))

  def test_empty_split(self):
    extractor = make_extractor({"test": make_split(0)}, splits=("test",))
    with pytest.raises(ValueError, match="split 'test' gave no examples"):
      extractor(PARAMS, {}, Features())

  def test_diverged_model(self):
    params = {**PARAMS, "encoder": np.full((16, 8), np.nan, np.float32)}
    extractor = make_extractor({"test": make_split(5)}, splits=("test",))
    with pytest.raises(
      ValueError, match="student features of split 'test' are not finite"
    ):
      extractor(params, {}, Features(model="student"))

  def test_fill_rows_may_be_anything(self):
    arrays = make_split(8)
    arrays["inputs"][5:] = np.nan
    batch = {**arrays, "valid": np.arange(8) < 5}
    extractor = FeatureExtractor(
      encode, lambda split: [batch], to_devices, splits=("test",)
    )
    assert len(extractor(PARAMS, {}, Features())["test"][0]) == 5


def predict(params, batch):
  """Whole numbers of each token: [B, N] int32."""
  return jnp.round(10 * batch["inputs"] @ params["embed"])[..., 0].astype(int)


class TestPredictions:
  def extract(self, batches, predict=predict, splits=("train", "test")):
    def refuse(params, batch):
      raise AssertionError("features were not asked for")

    extractor = FeatureExtractor(
      refuse, batches, to_devices, splits, predict=predict
    )
    return extractor(PARAMS, {"embed": None}, Predictions())

  def test_student_s_of_one_split_without_fill_rows(self):
    splits = {"test": make_split(21)}
    got = self.extract(make_batches(splits))
    assert list(got) == ["test"]
    x, y = got["test"]
    inputs = splits["test"]["inputs"].astype(float)
    expected = np.round(10 * inputs @ PARAMS["embed"])[..., 0]
    np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(y, np.arange(21))
    assert np.issubdtype(x.dtype, np.integer)

  def test_one_number_per_example(self):
    arrays = make_split(21, labels=False)
    x, y = self.extract(
      make_batches({"test": arrays}),
      lambda params, batch: batch["inputs"].mean((1, 2)),
    )["test"]
    expected = arrays["inputs"].astype(float).mean((1, 2))
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e-6)
    assert y is None

  def test_batches_of_several_widths(self):
    rng = np.random.default_rng(0)
    widths, length = (3, 5, 2), (4, 1, 2)
    parts = [
      {
        "inputs": rng.normal(size=(8, n, 7)).astype(np.float32),
        "label": rng.integers(9, size=(8, u)).astype(np.int32),
        "valid": np.arange(8) < 8 - n,
      }
      for n, u in zip(widths, length, strict=True)
    ]
    x, y = self.extract(lambda split: parts)["test"]
    rows = [(part, i) for part in parts for i in np.flatnonzero(part["valid"])]
    assert (x.shape, y.shape) == ((14, 5), (14, 4))
    for got_x, got_y, (part, i) in zip(x, y, rows, strict=True):
      ids = np.asarray(predict(PARAMS, part))[i]
      assert got_x.tolist() == [*ids, *[0] * (5 - len(ids))]
      label = part["label"][i]
      assert got_y.tolist() == [*label, *[-1] * (4 - len(label))]

  def test_none_to_be_had(self):
    with pytest.raises(ValueError, match="asks for predictions, and the obj"):
      self.extract(make_batches({}), predict=None)

  def test_scores_of_characters_end_with_certain_blanks(self):
    def scores(params, batch):
      return jax.nn.log_softmax(batch["inputs"] @ params["embed"])

    rng = np.random.default_rng(0)
    parts = [
      {"inputs": rng.normal(size=(8, n, 7)).astype(np.float32)} for n in (3, 5)
    ]
    extractor = FeatureExtractor(
      predict, lambda split: parts, to_devices, predict=predict, scores=scores
    )
    wanted = Predictions("test_other", scores=True)
    x, _ = extractor(PARAMS, {}, wanted)["test_other"]
    width = PARAMS["embed"].shape[1]
    assert x.shape == (16, 5, width)
    for i, part in enumerate(parts):
      logits = part["inputs"].astype(float) @ PARAMS["embed"]
      expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
      n = part["inputs"].shape[1]
      np.testing.assert_allclose(
        x[8 * i : 8 * i + 8, :n], expected, rtol=0, atol=1e-5
      )
    np.testing.assert_array_equal(x[:8, 3:, 0], 0)
    np.testing.assert_array_equal(x[:8, 3:, 1:], np.float32(-1e9))

  def test_no_scores_to_be_had(self):
    extractor = make_extractor({}, predict=predict)
    with pytest.raises(ValueError, match="asks for scores, and the objective"):
      extractor(PARAMS, {}, Predictions(scores=True))

  def test_diverged_model(self):
    arrays = make_split(8)
    with pytest.raises(
      ValueError, match="predictions of split 'test' are not finite"
    ):
      self.extract(
        make_batches({"test": arrays}),
        lambda params, batch: batch["inputs"][:, 0, 0] * jnp.nan,
      )

  def test_evaluators_of_both_kinds(self):
    asked = []
    splits = {"train": make_split(40), "test": make_split(21, seed=1)}
    for arrays in splits.values():
      arrays["label"] %= 3

    def classes(params, batch):
      return (batch["label"] + (batch["inputs"][:, 0, 0] > 1)) % 3

    extractor = make_extractor(
      splits,
      predict=classes,
      scores=lambda *args: jax.nn.one_hot(classes(*args), 3),
    )

    def extract(choice):
      asked.append(choice)
      return extractor(PARAMS, TEACHER_PARAMS, choice)

    evaluators = {
      "knn": EVALUATORS["knn"](k=3),
      "scores": EVALUATORS["classification"](),
      "numbers": EVALUATORS["regression"](),
      "seen": EVALUATORS["classification"](split="train"),
    }
    results = evaluate(evaluators, extract)
    assert asked == [
      Features(),
      Predictions(scores=True),
      Predictions(),
      Predictions("train", scores=True),
    ]
    for name, split in (("scores", "test"), ("seen", "train")):
      right = (splits[split]["inputs"][:, 0, 0] <= 1).mean()
      assert results[f"{name}/accuracy"] == pytest.approx(right)
    assert results["numbers/mse"] > 0


class TestLabelled:
  def test_labels_are_int32(self):
    x, y = labelled({"test": (np.zeros((2, 3)), np.array([1, 0]))}, "test")
    assert (x.shape, y.dtype) == ((2, 3), np.int32)

  def test_no_labels(self):
    with pytest.raises(
      ValueError, match=r"split 'test' has no labels.*remove the evaluator"
    ):
      labelled({"test": (np.zeros((2, 3)), None)}, "test")

  @pytest.mark.parametrize(
    ("y", "message"),
    [
      (np.zeros((2, 4), int), r"shape \(2, 4\) and type int64"),
      (np.zeros(2), "type float64"),
      (np.array([0, -1]), "smallest -1"),
    ],
  )
  def test_labels_that_are_no_classes(self, y, message):
    with pytest.raises(ValueError, match=message + ".*one class number >= 0"):
      labelled({"test": (np.zeros((2, 3)), y)}, "test")


class TestEvaluate:
  def make(self, **features):
    splits = {"train": make_split(40), "test": make_split(21, seed=1)}
    for arrays in splits.values():
      arrays["label"] %= 3
    return {
      "knn": Knn(k=3, features=Features(**features)),
      "linear_probe": LinearProbe(steps=3, features=Features(**features)),
      "rank_of_student": EffectiveRank(features=Features("student")),
    }, make_extractor(splits)

  def test_names_and_one_pass_per_choice_of_features(self):
    evaluators, extractor = self.make(model="teacher")
    asked = []

    def extract(features):
      asked.append(features)
      return extractor(PARAMS, TEACHER_PARAMS, features)

    results = evaluate(evaluators, extract)
    assert asked == [Features(), Features(model="student")]
    assert list(results) == [
      "knn/accuracy",
      "linear_probe/accuracy",
      "linear_probe/train_accuracy",
      "linear_probe/learning_rate",
      "linear_probe/weight_decay",
      "linear_probe/validation_accuracy",
      "rank_of_student/test",
    ]
    assert all(isinstance(value, float) for value in results.values())

  def test_inside_a_loop_that_forbids_transfers(self):
    evaluators, extractor = self.make()
    extract = functools.partial(extractor, PARAMS, TEACHER_PARAMS)
    with jax.transfer_guard("disallow"):
      assert 0 <= evaluate(evaluators, extract)["knn/accuracy"] <= 1

  def test_error_says_which_evaluator(self):
    evaluators, extractor = self.make()
    evaluators = {"knn": EVALUATORS["knn"](k=50)}
    extract = functools.partial(extractor, PARAMS, TEACHER_PARAMS)
    with pytest.raises(ValueError, match="k is 50") as error:
      evaluate(evaluators, extract)
    assert error.value.__notes__ == ["in config.evaluation.evaluators.knn"]
