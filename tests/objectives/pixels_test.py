import dataclasses

import jax
import numpy as np
import pytest

from d2v_jax.models.decoder import ConvDecoder
from d2v_jax.models.heads import LinearHead, RegressionHead
from d2v_jax.models.log_mel import log_mel
from d2v_jax.models.signal import signal
from d2v_jax.models.speech import speech
from d2v_jax.models.text import text
from d2v_jax.models.visible_speech import visible_speech
from d2v_jax.models.visible_vision import visible_vit
from d2v_jax.models.vision import vit
from d2v_jax.objectives.pixels import Pixels
from tests.objectives import learning
from tests.reference import data2vec as reference

WIDTH, HEADS, PATCH, SIDE = 8, 2, 4, 12
MEAN, STD = (0.4, 0.5), (0.2, 0.3)
VISION = {
  "image_size": SIDE,
  "patch_size": PATCH,
  "width": WIDTH,
  "depth": 2,
  "num_heads": HEADS,
  "mlp_ratio": 2,
  "mean": MEAN,
  "std": STD,
}
CONV_LAYERS = ((4, 40, 20), (4, 8, 8))


def with_mask_token(dtype="float32", **kwargs):
  network = vit(**VISION, compute_dtype=dtype)
  return Pixels(network, LinearHead(32, dtype), **kwargs)


def with_decoder(dtype="float32", **kwargs):
  network = visible_vit(**VISION, prenet_depth=1, compute_dtype=dtype)
  decoder = ConvDecoder(8, 2, 3, 4, grid=(3, 3), compute_dtype=dtype)
  return Pixels(network, LinearHead(32, dtype), decoder, **kwargs)


def of_speech(decoder=None):
  constructor = speech if decoder is None else visible_speech
  network = constructor(
    conv_layers=CONV_LAYERS,
    width=WIDTH,
    depth=1,
    num_heads=HEADS,
    position_depth=1,
    position_width=3,
    position_groups=2,
  )
  return Pixels(network, LinearHead(80), decoder, norm_targets=False)


def test_the_samples_of_a_signal():
  """Frames of 7 samples, 2 of which are a token's own, in two channels."""
  network = signal(
    rate=10,
    channels=2,
    windows=((4, 0.3, 0.1), (4, 0.7, 0.2)),
    width=WIDTH,
    depth=1,
    num_heads=HEADS,
    position_depth=1,
    position_width=3,
    position_groups=2,
  )
  objective = Pixels(network, LinearHead(4), norm_targets=False)
  x = np.random.default_rng(0).normal(size=(1, 30, 2)).astype(np.float32)
  mask = np.arange(12)[None] % 3 == 0  # [B, N]
  batch = {"inputs": x, "mask": mask}
  params = objective.init(jax.random.key(0), batch)
  loss, weight, _ = objective.loss(params, {}, batch, None)
  predicted = objective.predictions(params, batch, None)
  own = np.stack([x[0, 2 * n + 2 : 2 * n + 4].ravel() for n in range(12)])
  error = (np.asarray(predicted[0]) - own)[mask[0]] ** 2
  assert loss == pytest.approx(error.mean(), rel=1e-5) and weight == 4


def make_batch(num_masks=None):
  """Images as bytes, and one mask each, or several that leave 4 visible."""
  rng = np.random.default_rng(0)
  batch = {"inputs": rng.integers(0, 256, (3, SIDE, SIDE, 2)).astype(np.uint8)}
  masks = [rng.permutation(9) < 5 for _ in range(3 * (num_masks or 1))]
  if num_masks is None:
    return batch | {"mask": np.stack(masks)}
  masks = np.stack(masks).reshape(3, num_masks, 9)
  return batch | {"mask": masks, "keep_ids": keep_ids(masks, 4)}


def keep_ids(masks, visible):
  """The first places of [B, M, N] that are not hidden."""
  order = np.argsort(masks, axis=-1, kind="stable")
  return order[..., :visible].astype(np.int32)


def draw(objective, batch, dtype="float64"):
  rng = np.random.default_rng(1)
  shapes = jax.eval_shape(objective.init, jax.random.key(0), batch)
  return jax.tree.map(
    lambda s: (0.4 * rng.normal(size=s.shape)).astype(dtype), shapes
  )


def prepared(batch):
  return (batch["inputs"] / 255 - np.array(MEAN)) / np.array(STD)


def patches(images):
  """[B, N, P], row by row."""
  return np.stack(
    [
      images[:, r : r + PATCH, c : c + PATCH].reshape(len(images), -1)
      for r in range(0, SIDE, PATCH)
      for c in range(0, SIDE, PATCH)
    ],
    axis=1,
  )


def hide(images, mask, value):
  """Other pixels where the mask [B, N] is."""
  mask = mask.reshape(-1, 3, 3).repeat(PATCH, 1).repeat(PATCH, 2)
  return np.where(mask[..., None], value, images).astype(images.dtype)


@pytest.mark.parametrize("norm_targets", [True, False])
def test_loss_is_the_formula(norm_targets):
  batch = make_batch()
  images = prepared(batch)
  with jax.enable_x64(True):
    objective = with_mask_token("float64", norm_targets=norm_targets)
    params = draw(objective, batch)
    given = {**batch, "inputs": images}
    loss, weight, metrics = jax.jit(objective.loss)(params, {}, given, None)
  tokens, _ = reference.encoder(
    params, images, batch["mask"], patch=PATCH, heads=HEADS
  )
  x = tokens @ params["head"]["fc1"]["kernel"] + params["head"]["fc1"]["bias"]
  y = patches(images)
  if norm_targets:
    y -= y.mean(-1, keepdims=True)
    y /= np.sqrt((y**2).sum(-1, keepdims=True) / 31 + 1e-6)
  mask = batch["mask"]
  expected = np.mean([(x[b, n] - y[b, n]) ** 2 for b, n in np.argwhere(mask)])
  np.testing.assert_allclose(loss, expected, rtol=1e-9)
  for name, rows in (("target_std", y[mask]), ("prediction_std", x[mask])):
    std = np.sqrt(rows.var(0, ddof=1) + 1e-6).mean()
    np.testing.assert_allclose(metrics[name], std, rtol=1e-9)
  assert float(weight) == mask.sum() == 15


def test_several_masks_are_the_mean_over_all_that_is_hidden():
  batch = make_batch(2)
  with jax.enable_x64(True):
    objective = with_decoder("float64")
    params = draw(objective, batch)
    given = {**batch, "inputs": prepared(batch)}
    loss, weight, _ = jax.jit(objective.loss)(params, {}, given, None)
    x = jax.jit(objective.predictions)(params, given, None)
    assert x.shape == (6, 9, 32)
    one = jax.jit(objective.predictions)
    y = patches(given["inputs"])
    y -= y.mean(-1, keepdims=True)
    y /= np.sqrt((y**2).sum(-1, keepdims=True) / 31 + 1e-6)
    errors = []
    for b, m, n in np.argwhere(batch["mask"]):
      errors.append((x[2 * b + m, n] - y[b, n]) ** 2)
    np.testing.assert_allclose(loss, np.mean(errors), rtol=1e-9)
    assert float(weight) == len(errors) == 30
    # Each row is what one example with one mask gives.
    for b, m in ((0, 1), (2, 0)):
      alone = {
        "inputs": given["inputs"][b : b + 1],
        "mask": batch["mask"][b : b + 1, m : m + 1],
        "keep_ids": batch["keep_ids"][b : b + 1, m : m + 1],
      }
      np.testing.assert_allclose(
        one(params, alone, None)[0], x[2 * b + m], rtol=1e-9, atol=1e-9
      )


@pytest.mark.parametrize("make", [with_mask_token, with_decoder])
def test_gradient_is_the_difference_quotient(make):
  batch = make_batch(None if make is with_mask_token else 2)
  with jax.enable_x64(True):
    objective = make("float64")
    given = {**batch, "inputs": prepared(batch)}
    learning.assert_gradient(
      lambda p: objective.loss(p, {}, given, None).value, draw(objective, batch)
    )


def test_hidden_pixels_are_not_seen():
  objective, batch = with_mask_token(), make_batch()
  params = draw(objective, batch, "float32")
  predict = jax.jit(lambda b: objective.predictions(params, b, None))
  other = {**batch, "inputs": hide(batch["inputs"], batch["mask"], 7)}
  np.testing.assert_array_equal(predict(batch), predict(other))
  seen = {**batch, "inputs": hide(batch["inputs"], ~batch["mask"], 7)}
  assert np.abs(predict(batch) - predict(seen)).max() > 0.1


def test_hidden_pixels_are_not_seen_by_any_of_the_masks():
  objective, batch = with_decoder(), make_batch(2)
  params = draw(objective, batch, "float32")
  rng = jax.random.key(0)
  predict = jax.jit(lambda b: objective.predictions(params, b, rng))
  before = predict(batch)
  for m in range(2):
    images = hide(batch["inputs"], batch["mask"][:, m], 7)
    after = predict({**batch, "inputs": images})
    np.testing.assert_array_equal(before[m::2], after[m::2])
    assert (before[1 - m :: 2] != after[1 - m :: 2]).any()


def test_visible_pixels_are_not_scored():
  objective, batch = with_mask_token(), make_batch()
  params = draw(objective, batch, "float32")

  def loss(raw):
    encoder = dataclasses.replace(
      objective.encoder, raw_targets=lambda batch: raw
    )
    fixed = dataclasses.replace(objective, encoder=encoder)
    return fixed.loss(params, {}, batch, None).value

  y = jax.random.normal(jax.random.key(0), (3, 9, 32))
  other = jax.random.normal(jax.random.key(1), (3, 9, 32))
  hidden = batch["mask"][..., None]
  loss = jax.jit(loss)
  assert loss(np.where(hidden, y, other)) == loss(y)
  assert loss(np.where(hidden, other, y)) != loss(y)


def test_bytes_and_prepared_images_have_the_same_targets():
  objective, batch = with_mask_token(norm_targets=False), make_batch()
  targets = objective.targets(batch)
  expected = patches(prepared(batch))
  np.testing.assert_allclose(targets, expected, rtol=1e-5, atol=1e-5)


class TestSpeech:
  def batch(self, num_masks=None):
    """Two utterances, one padded from frame 13 on."""
    rng = np.random.default_rng(0)
    audio = rng.normal(size=(2, 3220)).astype(np.float32)
    audio[1, 13 * 160 + 30 :] = 0
    padding = np.arange(20)[None] >= np.array([[20], [13]])
    mask = rng.random((2, num_masks or 1, 20)) < 0.5
    mask &= ~padding[:, None]
    if num_masks is None:
      return {"inputs": audio, "padding": padding, "mask": mask[:, 0]}
    mask[:, :, :13] = False
    mask[:, 0, 2:7] = mask[:, 1, 5:10] = True
    ids = keep_ids(mask, 15)
    return {"inputs": audio, "padding": padding, "mask": mask, "keep_ids": ids}

  def test_targets_are_log_mel_frames(self):
    objective, batch = of_speech(), self.batch()
    expected = log_mel(batch["inputs"], batch["padding"], CONV_LAYERS)
    assert expected.shape == (2, 20, 80)
    np.testing.assert_array_equal(objective.targets(batch), expected)

  @pytest.mark.parametrize("version", [1, 2])
  def test_padding_changes_nothing(self, version):
    if version == 1:
      objective, batch = of_speech(), self.batch()
    else:
      decoder = ConvDecoder(8, 1, 3, 2)
      objective = of_speech(decoder)
      batch = self.batch(2)
    params = draw(objective, batch, "float32")
    value = jax.jit(objective.loss)
    loss, weight, _ = value(params, {}, batch, None)
    longer = {
      "inputs": np.pad(batch["inputs"], ((0, 0), (0, 800))),
      "padding": np.pad(
        batch["padding"], ((0, 0), (0, 5)), constant_values=True
      ),
    }
    last = [(0, 0)] * (batch["mask"].ndim - 1)
    longer["mask"] = np.pad(batch["mask"], (*last, (0, 5)))
    if version == 2:
      longer["keep_ids"] = keep_ids(longer["mask"], 20)
    same = value(params, {}, longer, None).value
    np.testing.assert_allclose(same, loss, rtol=1e-5)
    assert float(weight) == batch["mask"].sum()


@pytest.mark.parametrize(
  "version", [1, pytest.param(2, marks=pytest.mark.slow)]
)
def test_it_learns(version):
  objective = with_mask_token() if version == 1 else with_decoder()
  batch = make_batch(None if version == 1 else 2)
  metrics, state = learning.train(objective, batch, 60, rate=1e-2)
  assert metrics[-1]["loss"] < 0.5 * metrics[0]["loss"]
  assert state.teacher_params == {}
  assert metrics[-1]["prediction_std"] > 0.1


class TestErrors:
  def test_no_mask(self):
    batch = {"inputs": make_batch()["inputs"]}
    with pytest.raises(ValueError, match=r"no mask; set config\.data\.mask"):
      with_mask_token().predictions({}, batch, None)

  def test_a_decoder_is_missing(self):
    objective = with_decoder()
    objective = Pixels(objective.encoder, objective.head)
    with pytest.raises(ValueError, match=r"set config\.objective\.decoder"):
      objective.predictions({}, make_batch(2), None)

  def test_a_decoder_too_many(self):
    with pytest.raises(ValueError, match=r"leave config\.objective\.decoder"):
      with_decoder().predictions({}, make_batch(), None)

  def test_number_of_outputs(self):
    objective = Pixels(with_mask_token().encoder, LinearHead(33))
    with pytest.raises(ValueError, match=r"is 32 numbers.*33 .*outputs=32"):
      objective.init(jax.random.key(0), make_batch())

  def test_text(self):
    network = text(vocab_size=9, max_tokens=4, width=8, depth=1, num_heads=2)
    with pytest.raises(ValueError, match="for text choose the objective mlm"):
      Pixels(network, RegressionHead())
