"""config.data of text."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from d2v_jax import config as config_lib
from d2v_jax.config import Choices, ConfigError, FromRun
from d2v_jax.data.buckets import Buckets
from d2v_jax.data.checking.look import Look
from d2v_jax.data.dataset import (
  DATA,
  Dataset,
  EvaluationExamples,
  Example,
)
from d2v_jax.data.labels import LABELS, Labels
from d2v_jax.data.layout import TokenInputs
from d2v_jax.data.masks.mask import Mask
from d2v_jax.data.masks.text import MASKS
from d2v_jax.data.source import Record
from d2v_jax.data.text import examples
from d2v_jax.data.text import given as text_given
from d2v_jax.data.text import look as text_look
from d2v_jax.data.text.sources import SOURCES
from d2v_jax.data.text.transform import (
  TextEvalTransform,
  TextTrainTransform,
)


@dataclasses.dataclass(frozen=True)
class TokenizerFile:
  """Which tokenizer: a file or folder, or one that comes along.

  Attributes:
    path: see `tokenizer.load`.
    name: see `tokenizer.load`.
  """

  path: str | None = None
  name: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextData(Dataset):
  """Texts for training, evaluation and feature extraction.

  Attributes:
    inputs: what the encoder takes.
    tokenizer: what makes tokens of texts.
    packing: see `examples.training_texts`.
    mask: what draws the hidden tokens; None to train without.
    labels: what makes the labels; None to pretrain.
    buckets: lengths of batches, in tokens.
  """

  inputs: FromRun[TokenInputs]
  tokenizer: TokenizerFile | None = None
  packing: Literal["complete", "documents", "none"] | None = None
  mask: Annotated[Mask | None, Choices(MASKS)] = None
  labels: Annotated[Labels | None, Choices(LABELS)] = None
  buckets: Buckets | None = None

  sources: ClassVar[Mapping[str, Callable]] = SOURCES
  needs_buckets: ClassVar[bool] = True

  @property
  def by_record(self) -> bool:
    """See `Dataset.by_record`; blocks are packed of many."""
    return self.packing is None

  def transform(self) -> TextTrainTransform:
    """See `Dataset.transform`."""
    return config_lib.call(
      TextTrainTransform,
      self.augment,
      f"{DATA}.augment",
      vocab_size=self.inputs.vocab_size,
      mask=self.mask,
      labels=self.labels,
    )

  def blank(self, length: int | None = None) -> Example:
    """See `Dataset.blank`."""
    tokens = self.inputs.example(length=length)["inputs"][0]
    return {
      "tokens": tokens,
      "length": len(tokens),
      "label": 0,
      "requested": 0,
      "record": 0,
    }

  def training_examples(self, records: Any) -> Any:
    """See `Dataset.training_examples`."""
    return examples.training_texts(
      records,
      self._tokenizer(),
      self.inputs.vocab_size,
      self.inputs.max_tokens,
      self.packing,
      None if self.buckets is None else self.buckets.lengths[-1],
    )

  def look(self, record: Record) -> Look:
    """See `Dataset.look`."""
    return text_look.look(record)

  def given_records(self, value: Any, name: str) -> Any:
    """See `Dataset.given_records`."""
    return text_given.texts(value, name)

  def evaluation(self, records: Any, where: str) -> EvaluationExamples:
    """See `Dataset.evaluation`."""
    tokenizer = self._tokenizer()
    with config_lib.errors_at(where):
      source = examples.Texts(
        records, tokenizer, self.inputs.vocab_size, self.inputs.max_tokens
      )
    labels = self._labels_of(records)
    made = TextEvalTransform(self.inputs.vocab_size, labels)
    return EvaluationExamples(source, made)

  def _tokenizer(self) -> dict[str, str]:
    if self.tokenizer is None:
      raise ConfigError(
        f"{DATA}.tokenizer: missing; give its path, a tokenizer.json or a "
        "folder with vocab.json and merges.txt, or name='kjv'."
      )
    fields = dataclasses.asdict(self.tokenizer)
    return {k: v for k, v in fields.items() if v is not None}
