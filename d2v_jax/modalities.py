"""The table of modalities: how raw examples become inputs, masks and tokens."""

import dataclasses
from collections.abc import Callable, Mapping

from d2v_jax.data import masking, sources, vision
from d2v_jax.models.encoder import Encoder
from d2v_jax.models.vision import vit


@dataclasses.dataclass(frozen=True)
class Modality:
  """One row of the table.

  Attributes:
    encoder: arguments of config.encoder -> Encoder.
    sources: name -> random-access source of raw examples.
    decoded: (source, ...) -> source of decoded examples that steps over
      corrupt ones.
    masks: name -> mask generator.
    train_transform: builds (example, rng) -> `inputs`, `mask`, ...
    eval_transform: builds example -> `inputs`, `label`.
    shared: arguments of the encoder that the transforms must agree on; written
      once, in config.encoder.
  """

  encoder: Callable[..., Encoder]
  sources: Mapping[str, Callable]
  decoded: Callable
  masks: Mapping[str, Callable]
  train_transform: Callable
  eval_transform: Callable
  shared: tuple[str, ...]


MODALITIES = {
  "vision": Modality(
    encoder=vit,
    sources=sources.SOURCES,
    decoded=sources.Decoded,
    masks=masking.MASKS,
    train_transform=vision.TrainTransform,
    eval_transform=vision.EvalTransform,
    shared=("image_size", "patch_size"),
  ),
}
