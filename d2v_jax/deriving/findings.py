"""What the data show that sizes are derived from; `d2v check` looks alike."""

from collections.abc import Callable
from typing import Any

import numpy as np

from d2v_jax.config import ConfigError
from d2v_jax.data.checking import opening, survey
from d2v_jax.data.checking.survey import Survey
from d2v_jax.data.dataset import Dataset
from d2v_jax.deriving.images import ImageFindings
from d2v_jax.deriving.recordings import RecordingFindings
from d2v_jax.deriving.texts import TextFindings

Findings = ImageFindings | RecordingFindings | TextFindings

_SAMPLE = 500  # records, drawn at random
_DARKEST_STD = 0.01  # of images that are one colour each


def of(modality: str, dataset: Dataset, records: Any) -> Findings:
  """Looks at some records.

  Args:
    modality: one of `BY_MODALITY`.
    dataset: config.data.
    records: of its source.

  Raises:
    ConfigError: none of them can be used.
  """
  seen = survey.survey(
    opening.TRAINING,
    records,
    dataset.look,
    survey.chosen(len(records), _SAMPLE),
    threads=dataset.num_threads,
  )
  if not seen.looks:
    reasons = {**seen.unreadable, **seen.broken}
    first = next(iter(reasons), None)
    said = (
      ""
      if first is None
      else (f"; the first is {seen.record_name(first)}: {reasons[first]}")
    )
    raise ConfigError(
      f"{opening.TRAINING}: none of {seen.looked_at} records that were looked "
      f"at can be used{said}. d2v check says more."
    )
  usable = round(len(seen.looks) / seen.looked_at * seen.total)
  return BY_MODALITY[modality](seen, usable)


def _of_images(seen: Survey, usable: int) -> ImageFindings:
  looks = list(seen.looks.values())
  moments = np.mean([x.moments for x in looks], axis=0)  # [2, C]
  mean, square = moments
  std = np.maximum(np.sqrt(np.maximum(square - mean**2, 0)), _DARKEST_STD)
  grey = all(x.kinds["channels"].startswith("grey") for x in looks)
  return ImageFindings(
    count=usable,
    sides=tuple(
      int(min(x.numbers["width, pixels"], x.numbers["height, pixels"]))
      for x in looks
    ),
    channels=1 if grey else len(mean),
    mean=tuple(mean.tolist()),
    std=tuple(std.tolist()),
  )


def _of_recordings(seen: Survey, usable: int) -> RecordingFindings:
  lengths = [x.numbers["length, seconds"] for x in seen.looks.values()]
  return RecordingFindings(count=usable, seconds=tuple(lengths))


def _of_texts(seen: Survey, usable: int) -> TextFindings:
  lengths = [x.numbers["length, characters"] for x in seen.looks.values()]
  return TextFindings(
    count=usable, characters=round(float(np.mean(lengths)) * usable)
  )


BY_MODALITY: dict[str, Callable[[Survey, int], Findings]] = {
  "vision": _of_images,
  "speech": _of_recordings,
  "text": _of_texts,
}
