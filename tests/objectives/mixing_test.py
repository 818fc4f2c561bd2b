import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from d2v_jax.objectives import mixing
from d2v_jax.objectives.mixing import Mixing

# A two-sample or one-sample Kolmogorov-Smirnov p-value below this fails; the
# draws are seeded, so it fails always or never.
LEAST_P = 1e-3


def images(batch=4, shape=(6, 8)):
  x = np.random.default_rng(0).normal(size=(batch, *shape, 3))
  return x.astype(np.float32), np.arange(batch) * 10


def many(options, count, batch=2, shape=(6, 8)):
  """Of so many batches: mixed images and weights."""
  x, labels = images(batch, shape)
  mix = jax.jit(jax.vmap(lambda key: Mixing(**options)(key, x, labels)))
  mixed, _, weights = mix(jax.random.split(jax.random.key(1), count))
  return x, np.asarray(mixed), np.asarray(weights)


def timm_weight(rng, alpha, shape):
  """Share of the image outside of one of timm's cutmix boxes."""
  ratio = np.sqrt(1 - rng.beta(alpha, alpha))
  inside = 1
  for side in shape:
    cut, centre = int(side * ratio), rng.integers(side)
    ends = np.clip([centre - cut // 2, centre + cut // 2], 0, side)
    inside *= ends[1] - ends[0]
  return 1 - inside / math.prod(shape)


def timm_erased(rng, shape):
  """Height and width of one of timm's boxes; (0, 0) if none fitted."""
  for _ in range(10):
    area = rng.uniform(0.02, 1 / 3) * math.prod(shape)
    aspect = math.exp(rng.uniform(math.log(0.3), -math.log(0.3)))
    height, width = (
      round(math.sqrt(area * aspect)),
      round(math.sqrt(area / aspect)),
    )
    if height < shape[0] and width < shape[1]:
      return height, width
  return 0, 0


def box(inside):
  """Height and width of a full box [H, W] bool; (0, 0) if there is none."""
  sides = [inside.any(1), inside.any(0)]
  sizes = [int(s.sum()) for s in sides]
  assert inside.sum() == math.prod(sizes)
  for side, size in zip(sides, sizes, strict=True):
    assert size == 0 or np.ptp(np.flatnonzero(side)) == size - 1
  return tuple(sizes)


@pytest.mark.parametrize(
  ("batch", "dtype"), [(2, jnp.bfloat16), (5, np.float32)]
)
def test_mixup_by_hand(batch, dtype):
  x, labels = images(batch)
  x = x.astype(dtype)
  mix = Mixing(switch_prob=0.0, erase_prob=0.0)
  mixed, partners, weights = mix(jax.random.key(0), x, labels)
  assert mixed.dtype == dtype
  weight = float(weights[0])
  assert 0 < weight < 1
  assert weights.tolist() == [weight] * batch
  assert partners.tolist() == labels[::-1].tolist()
  wide = x.astype(np.float64)
  np.testing.assert_allclose(
    mixed.astype(np.float32),
    weight * wide + (1 - weight) * wide[::-1],
    atol=1e-6 if dtype == np.float32 else 0.05,
  )


def test_weights_of_mixup():
  alpha = 0.8
  options = {"mixup": alpha, "cutmix": 0.0, "erase_prob": 0.0}
  _, _, weights = many(options, 2000)
  p = stats.kstest(weights[:, 0], stats.beta(alpha, alpha).cdf).pvalue
  assert p > LEAST_P


@pytest.mark.parametrize("shape", [(6, 8), (16, 5)])
def test_cutmix_by_hand(shape):
  options = {"mixup": 0.0, "cutmix": 1.0, "erase_prob": 0.0}
  x, mixed, weights = many(options, 1000, 3, shape)
  for images, row in zip(mixed, weights, strict=True):
    inside = (images[0] != x[0]).all(-1)
    height, width = box(inside)
    # One box for all, which the partners fill; the weight is its exact area.
    expected = np.where(inside[..., None], x[::-1], x)
    np.testing.assert_array_equal(images, expected)
    share = 1 - height * width / math.prod(shape)
    np.testing.assert_allclose(row, share, atol=1e-6)
  rng = np.random.default_rng(0)
  reference = [timm_weight(rng, 1.0, shape) for _ in range(4000)]
  # Both are shares of few pixels: the same numbers but for rounding.
  got = weights[:, 0].astype(np.float64).round(5)
  assert stats.ks_2samp(got, np.round(reference, 5)).pvalue > LEAST_P


def test_cutmix_or_mixup():
  switch_prob = 0.3
  x, mixed, _ = many({"switch_prob": switch_prob, "erase_prob": 0.0}, 1000)
  # A cut leaves pixels as they were in one image or in the other.
  own = (mixed == x).all(-1) | (mixed == x[::-1]).all(-1)
  cut = own.all((1, 2, 3))
  spread = 4 * np.sqrt(switch_prob * (1 - switch_prob) / 1000)
  assert abs(cut.mean() - switch_prob) <= spread


def test_some_batches_stay():
  x, mixed, weights = many({"prob": 0.6, "erase_prob": 0.0}, 1000)
  stays = (mixed == x).all((1, 2, 3, 4))
  np.testing.assert_array_equal(weights[stays], 1)
  # A box of no area, too, changes nothing.
  assert stays.mean() == pytest.approx(0.4, abs=0.07)
  x, mixed, weights = many({"mixup": 0.0, "cutmix": 0.0, "erase_prob": 0}, 3)
  np.testing.assert_array_equal(mixed, np.broadcast_to(x, mixed.shape))
  assert (weights == 1).all()


@pytest.mark.parametrize("shape", [(12, 12), (4, 24)])
def test_erasing(shape):
  batch = 3000
  x = np.full((batch, *shape, 2), 9.0, np.float32)
  erased = np.asarray(mixing.erase(jax.random.key(0), x, 0.5))
  changed = erased != 9.0
  inside = changed.all(-1)
  np.testing.assert_array_equal(inside, changed.any(-1))
  sizes = np.array([box(image) for image in inside])
  has = sizes.any(1)
  rng = np.random.default_rng(0)
  reference = np.array([timm_erased(rng, shape) for _ in range(batch)])
  expected = 0.5 * reference.any(1).mean()
  assert has.mean() == pytest.approx(expected, abs=0.04)
  reference = reference[reference.any(1)]
  for axis in range(2):
    p = stats.ks_2samp(sizes[has, axis], reference[:, axis]).pvalue
    assert p > LEAST_P
  # As often here as there: the place is uniform given the size.
  tops = inside[has].any(2).argmax(1)
  room = shape[0] - sizes[has, 0] + 1
  assert ((tops + 0.5) / room).mean() == pytest.approx(0.5, abs=0.03)
  noise = erased[changed]
  assert noise.mean() == pytest.approx(0, abs=0.02)
  assert noise.std() == pytest.approx(1, abs=0.02)
  assert mixing.erase(jax.random.key(0), x, 0.0) is x


def test_images_are_erased_before_they_are_mixed():
  x, labels = images(2, (16, 16))
  key = jax.random.key(3)
  options = {"switch_prob": 0.0, "erase_prob": 1.0}
  mixed, _, weights = Mixing(**options)(key, x, labels)
  weight = float(weights[0])
  pure = weight * x + (1 - weight) * x[::-1]
  other = np.abs(mixed - pure).max(-1) > 1e-5
  # Of both images of the pair, in each: one box alone would change both alike.
  np.testing.assert_array_equal(other[0], other[1])
  assert 0 < other.mean() < 1


def test_groups_are_batches_of_their_own():
  x, labels = images(6)
  mix = Mixing(switch_prob=0.0, erase_prob=0.0, group=3)
  mixed, partners, weights = mix(jax.random.key(0), x, labels)
  assert partners.tolist() == [20, 10, 0, 50, 40, 30]
  weights = np.asarray(weights)
  assert weights[0] == weights[1] == weights[2] != weights[3] == weights[5]
  share = weights[:, None, None, None]
  np.testing.assert_allclose(
    mixed, share * x + (1 - share) * x[[2, 1, 0, 5, 4, 3]], atol=1e-6
  )


def test_the_key_decides():
  x, labels = images()
  mix = jax.jit(Mixing(erase_prob=1.0))
  a, b, other = (mix(jax.random.key(k), x, labels)[0] for k in (0, 0, 1))
  np.testing.assert_array_equal(a, b)
  assert np.any(a != other)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"mixup": -1.0}, r"mixup must be 0 \(off\) or more, got -1.0"),
    ({"cutmix": -0.5}, "cutmix must be 0"),
    ({"prob": 1.5}, "prob is a probability, 0 to 1, got 1.5"),
    ({"switch_prob": -1.0}, "switch_prob is a probability"),
    ({"erase_prob": 2.0}, "erase_prob is a probability"),
    ({"group": 0}, "group must be 1 or more, or None, got 0"),
  ],
)
def test_errors(options, message):
  with pytest.raises(ValueError, match=message):
    Mixing(**options)


@pytest.mark.parametrize(
  ("x", "group", "message"),
  [
    (np.zeros((2, 100), np.float32), None, r"got float32 \[2, 100\]; leave"),
    (np.zeros((2, 8, 8, 3), np.uint8), None, r"got uint8 \[2, 8, 8, 3\]"),
    (np.zeros((4, 8, 8, 3), np.float32), 3, r"group 3 does not divide .* of 4"),
  ],
)
def test_input_errors(x, group, message):
  with pytest.raises(ValueError, match=message):
    Mixing(group=group)(jax.random.key(0), x, np.zeros(len(x), int))
