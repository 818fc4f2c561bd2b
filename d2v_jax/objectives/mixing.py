"""Mixing and erasing training images on the device: mixup, cutmix, erasing.

Source: Zhang et al. 2017 (mixup), Yun et al. 2019 (cutmix), Zhong et al. 2017
(random erasing), as timm 0.3.2 does them, which the released fine-tuning uses.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

# timm's: share of the image's area, and height / width, of what is erased.
_ERASED_AREA = (0.02, 1 / 3)
_ERASED_ASPECT = (0.3, 1 / 0.3)
_ERASE_ATTEMPTS = 10


@dataclasses.dataclass(frozen=True)
class Mixing:
  """Mixes each image with that of a partner: the batch in reversed order.

  First parts of single images are erased, then all are mixed, with one weight
  and one box for the whole batch (of each micro-batch, or group).

  Attributes:
    mixup: alpha of the weight's Beta(alpha, alpha) where images are averaged;
      0 turns that off.
    cutmix: likewise where a box of the partner is put in; 0 turns that off.
    prob: probability that a batch is mixed.
    switch_prob: probability of cutmix where both are on.
    erase_prob: probability that a box of an image becomes N(0, 1) noise.
    group: so many images after each other share a weight and a box, and are
      partners of each other; it must divide the batch, or micro-batch. None:
      all of it. timm mixes on each device: the released ViT-B's group is 128.

  Raises:
    ValueError: for values outside their range.
  """

  mixup: float = 0.8
  cutmix: float = 1.0
  prob: float = 1.0
  switch_prob: float = 0.5
  erase_prob: float = 0.25
  group: int | None = None

  def __post_init__(self) -> None:
    for name in ("mixup", "cutmix"):
      if getattr(self, name) < 0:
        raise ValueError(
          f"Mixing: {name} must be 0 (off) or more, got {getattr(self, name)}."
        )
    for name in ("prob", "switch_prob", "erase_prob"):
      if not 0 <= getattr(self, name) <= 1:
        raise ValueError(
          f"Mixing: {name} is a probability, 0 to 1, got {getattr(self, name)}."
        )
    if self.group is not None and self.group < 1:
      raise ValueError(
        f"Mixing: group must be 1 or more, or None, got {self.group}."
      )

  def __call__(
    self, rng: jax.Array, images: jax.Array, labels: jax.Array
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Erases and mixes a batch.

    Args:
      rng: the only source of randomness.
      images: [B, H, W, C], normalised.
      labels: [B] of any kind.

    Returns:
      Mixed images [B, H, W, C]; the partners' labels [B]; and the weight [B]
      float32 of each image's own label, where the partner's has the rest. With
      cutmix it is the share of the area, exactly.

    Raises:
      ValueError: if these are not float images, or the group does not fit.
    """
    if images.ndim != 4 or not jnp.issubdtype(images.dtype, jnp.floating):
      raise ValueError(
        "Mixing: inputs must be normalised images, float [B, H, W, C], got "
        f"{images.dtype} {list(images.shape)}; leave config.objective.mixing "
        "out for anything but images."
      )
    size = len(images)
    group = self.group or size
    if size % group:
      raise ValueError(
        f"Mixing: group {group} does not divide the batch (or micro-batch) of "
        f"{size}; change config.objective.mixing.group."
      )
    erase_rng, mix_rng = jax.random.split(rng)
    images = erase(erase_rng, images, self.erase_prob)
    grouped = images.reshape(-1, group, *images.shape[1:])  # [G, group, ...]
    partners = labels.reshape(-1, group)[:, ::-1].reshape(labels.shape)
    mix_rngs = jax.random.split(mix_rng, len(grouped))
    mixed, weights = jax.vmap(self._mix)(mix_rngs, grouped)  # weights [G]
    return mixed.reshape(images.shape), partners, jnp.repeat(weights, group)

  def _mix(
    self, rng: jax.Array, images: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Mixed images [group, H, W, C] and the scalar weight of their labels."""
    prob_rng, switch_rng, weight_rng, box_rng = jax.random.split(rng, 4)
    partners = images[::-1]
    mixed, label_weight = images, jnp.ones(())
    if self.mixup:
      weight = jax.random.beta(weight_rng, self.mixup, self.mixup)
      label_weight = weight
      share = weight.astype(images.dtype)
      mixed = share * images + (1 - share) * partners
    if self.cutmix:
      weight = jax.random.beta(weight_rng, self.cutmix, self.cutmix)
      height, width = images.shape[1:3]
      inside = cut_box(box_rng, (height, width), weight)  # [H, W]
      cut = jnp.where(inside[..., None], partners, images)
      cuts = jax.random.bernoulli(switch_rng, self.switch_prob)
      cuts |= not self.mixup
      mixed = jnp.where(cuts, cut, mixed)
      label_weight = jnp.where(cuts, 1 - inside.mean(), label_weight)
    mixes = jax.random.bernoulli(prob_rng, self.prob)
    mixed = jnp.where(mixes, mixed, images)
    return mixed, jnp.where(mixes, label_weight, 1.0)


def cut_box(
  rng: jax.Array, shape: tuple[int, int], weight: jax.Array
) -> jax.Array:
  """Draws cutmix's box.

  Args:
    rng: the only source of randomness.
    shape: (H, W) in pixels.
    weight: scalar, the area outside of the box, before the box is cut at the
      image's edges: its centre is anywhere.

  Returns:
    [H, W] bool, True inside.
  """
  sides = []
  for side_rng, side in zip(jax.random.split(rng), shape, strict=True):
    length = jnp.floor(side * jnp.sqrt(1 - weight)).astype(jnp.int32)
    centre = jax.random.randint(side_rng, (), 0, side)
    pixel = jnp.arange(side)
    half = length // 2
    sides.append((pixel >= centre - half) & (pixel < centre + half))
  return sides[0][:, None] & sides[1]


def erase(rng: jax.Array, images: jax.Array, prob: float) -> jax.Array:
  """Fills a box of some images with N(0, 1) noise, for each pixel and channel.

  Of ten boxes drawn for an image, the first that fits is taken; if none does,
  the image stays. (timm draws the next only if the last did not fit: the same
  distribution.)

  Args:
    rng: the only source of randomness.
    images: [B, H, W, C].
    prob: probability that an image has a box.

  Returns:
    [B, H, W, C].
  """
  if not prob:
    return images
  batch, height, width, _ = images.shape
  rngs = jax.random.split(rng, 6)
  draws = (batch, _ERASE_ATTEMPTS)
  low, high = (share * height * width for share in _ERASED_AREA)
  area = jax.random.uniform(rngs[0], draws, minval=low, maxval=high)
  low, high = map(math.log, _ERASED_ASPECT)
  aspect = jnp.exp(jax.random.uniform(rngs[1], draws, minval=low, maxval=high))
  rows = jnp.round(jnp.sqrt(area * aspect)).astype(jnp.int32)  # [B, 10]
  columns = jnp.round(jnp.sqrt(area / aspect)).astype(jnp.int32)
  fits = (rows < height) & (columns < width)
  first = fits.argmax(1)[:, None]  # [B, 1]
  erased = fits.any(1) & jax.random.bernoulli(rngs[2], prob, (batch,))
  sides = []
  for side_rng, side, lengths in (
    (rngs[3], height, rows),
    (rngs[4], width, columns),
  ):
    length = jnp.take_along_axis(lengths, first, 1)  # [B, 1]
    start = jax.random.randint(side_rng, length.shape, 0, side - length + 1)
    pixel = jnp.arange(side)
    sides.append((pixel >= start) & (pixel < start + length))  # [B, side]
  # [B, H, W]
  inside = sides[0][:, :, None] & sides[1][:, None] & erased[:, None, None]
  noise = jax.random.normal(rngs[5], images.shape, images.dtype)
  return jnp.where(inside[..., None], noise, images)
