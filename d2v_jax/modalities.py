"""The table of modalities: how raw examples become inputs, masks and tokens."""

import dataclasses
from collections.abc import Callable, Mapping

from d2v_jax.data.images import sources
from d2v_jax.data.images import transform as image_transform
from d2v_jax.data.masks import image as image_masks
from d2v_jax.data.masks import speech as speech_masks
from d2v_jax.data.masks import text as text_masks
from d2v_jax.data.speech import transform as speech_transform
from d2v_jax.data.speech import utterances
from d2v_jax.data.text import documents, sequences
from d2v_jax.data.text import transform as text_transform
from d2v_jax.models import speech as speech_models
from d2v_jax.models import text as text_models
from d2v_jax.models import vision as vision_models
from d2v_jax.models.encoder import Encoder


@dataclasses.dataclass(frozen=True)
class Modality:
  """One row of the table.

  Functions of the data are given what they have arguments for: `labels`,
  `mask`, `channel_mask`, `buckets` and what is shared.

  Attributes:
    encoder: arguments of config.encoder -> Encoder.
    sources: name -> random-access source of raw records.
    train_source: (source, ...) -> examples to train on, from the fields of
      config.data that it has arguments for. It steps over corrupt records.
    eval_source: (source, ...) -> examples to evaluate, each record once.
    masks: name -> mask generator.
    train_transform: builds (example, rng) -> `inputs`, `mask`, ... With
      buckets it has `check_length(length)`, which raises for lengths that its
      masks do not fit.
    eval_transform: builds example -> `inputs`, `label`.
    shared: arguments of the encoder that the data must agree on; written once,
      in config.encoder.
    needs_buckets: examples differ in length, so batches need lengths.
  """

  encoder: Callable[..., Encoder]
  sources: Mapping[str, Callable]
  train_source: Callable
  eval_source: Callable
  masks: Mapping[str, Callable]
  train_transform: Callable
  eval_transform: Callable
  shared: tuple[str, ...]
  needs_buckets: bool = False


MODALITIES = {
  "vision": Modality(
    encoder=vision_models.vit,
    sources=sources.SOURCES,
    train_source=sources.Decoded,
    eval_source=sources.Decoded,
    masks=image_masks.MASKS,
    train_transform=image_transform.ImageTrainTransform,
    eval_transform=image_transform.ImageEvalTransform,
    shared=("image_size", "patch_size"),
  ),
  "speech": Modality(
    encoder=speech_models.speech,
    sources=utterances.SOURCES,
    train_source=utterances.training_utterances,
    eval_source=utterances.evaluation_utterances,
    masks=speech_masks.MASKS,
    train_transform=speech_transform.SpeechTrainTransform,
    eval_transform=speech_transform.SpeechEvalTransform,
    shared=("conv_layers", "width"),
    needs_buckets=True,
  ),
  "text": Modality(
    encoder=text_models.text,
    sources=documents.SOURCES,
    train_source=sequences.training_texts,
    eval_source=sequences.Texts,
    masks=text_masks.MASKS,
    train_transform=text_transform.TextTrainTransform,
    eval_transform=text_transform.TextEvalTransform,
    shared=("vocab_size", "max_tokens"),
    needs_buckets=True,
  ),
}
