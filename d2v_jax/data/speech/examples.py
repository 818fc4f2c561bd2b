"""Utterances ready for training or evaluation: which are used, and decoded."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from d2v_jax.data import layout
from d2v_jax.data.buckets import Buckets
from d2v_jax.data.files.unreadable import Unreadable, shown
from d2v_jax.data.recordings.usable import UNREADABLE, UsableRecordings
from d2v_jax.data.source import Example
from d2v_jax.data.speech import decoding
from d2v_jax.data.speech.sources import RecordingSource

Labels = Callable[[Mapping[str, Any]], np.ndarray]


class Utterances(UsableRecordings):
  """A source's utterances decoded, normalised, and chosen by their length.

  Item i is {'samples': float32 [n] of zero mean and unit variance, 'text' and
  'label' if the source has them, 'requested': i, 'record': j}: utterance i, or
  when that is corrupt or silent the next one that is not (j = i + 1, ...,
  around the end). So item i is always the same, whatever was read before.

  What cannot be used is left out here, counted and logged: files whose header
  cannot be read, and utterances of no frame. The arguments leave out more.

  Args:
    source: recordings.
    labels: what makes the labels; when they need texts (it has
      `frames_needed`), every text is tried now rather than in mid-run.
    fit_labels: leave out utterances with fewer frames than CTC needs for their
      labels; for training, whose loss would be infinite.
    min_samples: leave out shorter ones.
    min_frames: leave out those of fewer.
    max_samples: leave out longer ones; None for none. What is too long for a
      batch is cropped, which labels of the whole utterance do not allow.
    max_seconds: leave out longer ones, which are not decoded at all.
    conv_layers: (channels, kernel, stride) of the model's convolutions.
    sample_rate: samples per second of the examples.
    variance_floor: see `decoding.normalise`.

  Attributes:
    lengths: int64 [n], samples of each utterance, from the files' headers.
    left_out: reason -> number of utterances.
    unreadable: name of a record left out as such -> why that is.
    class_names: the source's classes.

  Raises:
    ValueError: an argument is outside its range, a text is missing or the
      labels refuse it, every utterance is left out, or, when an item is read,
      no usable utterance at all.

  Source: data2vec's code (arXiv 2202.03555) drops short utterances in
  pre-training (2 s) and normalises the whole utterance in front of the crop.
  """

  owner = "Utterances"
  what = "utterances"
  remedy = "check the files, or change min_samples, max_samples or the source"

  def __init__(
    self,
    source: RecordingSource,
    *,
    labels: Labels | None = None,
    fit_labels: bool = False,
    min_samples: int = 0,
    min_frames: int = 1,
    max_samples: int | None = None,
    max_seconds: float = decoding.MAX_SECONDS,
    conv_layers: layout.ConvLayers = layout.CONV_LAYERS,
    sample_rate: int = decoding.SAMPLE_RATE,
    variance_floor: float = decoding.VARIANCE_FLOOR,
  ):
    if min_samples < 0:
      raise ValueError(
        f"Utterances: min_samples must be >= 0, got {min_samples}"
      )
    if max_samples is not None and max_samples < max(1, min_samples):
      raise ValueError(
        f"Utterances: max_samples={max_samples} is below "
        f"min_samples={min_samples}; change one of them"
      )
    self._conv_layers = tuple(conv_layers)
    self._min_samples = min_samples
    self._min_frames = min_frames
    self._max_seconds = max_seconds
    self._sample_rate = sample_rate
    self._variance_floor = variance_floor
    lengths = source.lengths(sample_rate)
    frames = layout.num_frames(lengths, self._conv_layers)
    reasons = {
      UNREADABLE: lengths == 0,
      f"longer than max_seconds={max_seconds:g}": (
        lengths > max_seconds * sample_rate
      ),
      "too short for one frame": frames < 1,
      f"of fewer than {min_frames} frames": frames < min_frames,
      f"shorter than min_samples={min_samples}": lengths < min_samples,
    }
    if max_samples is not None:
      reasons[f"longer than max_samples={max_samples}"] = lengths > max_samples
    if hasattr(labels, "frames_needed"):
      needed = _frames_needed(source, labels)
      if fit_labels:
        reasons["fewer frames than their labels need"] = frames < needed
    super().__init__(source, lengths, reasons)

  def read(self, number: int) -> Example:
    """See `UsableRecordings.read`."""
    record = self._source[number]
    samples = decoding.decode(
      record["audio"],
      record.get("rate"),
      self._sample_rate,
      self._max_seconds,
    )
    # The header of a damaged file may have promised more samples.
    frames = layout.num_frames(len(samples), self._conv_layers)
    if frames < self._min_frames or len(samples) < self._min_samples:
      raise Unreadable(f"too short: {len(samples)} samples")
    decoding.check_sound(samples)
    normalised = decoding.normalise(samples, self._variance_floor)
    example: Example = {"samples": normalised}
    return example | {k: record[k] for k in ("text", "label") if k in record}


def training_utterances(
  source: RecordingSource,
  *,
  buckets: Buckets,
  labels: Labels | None = None,
  min_samples: int = 0,
  min_frames: int = 1,
  max_seconds: float = decoding.MAX_SECONDS,
  conv_layers: layout.ConvLayers = layout.CONV_LAYERS,
  variance_floor: float = decoding.VARIANCE_FLOOR,
) -> Utterances:
  """Utterances to train on.

  Transcripts are of whole utterances: those that CTC could not align, and those
  that would have to be cropped to the largest bucket, are left out.

  Args:
    source: recordings.
    buckets: lengths of batches, in samples.
    labels: what makes the labels; None to pretrain.
    min_samples: leave out shorter ones.
    min_frames: leave out those of fewer: of one, none can be hidden.
    max_seconds: leave out longer ones.
    conv_layers: (channels, kernel, stride) of the model's convolutions.
    variance_floor: see `decoding.normalise`.

  Raises:
    ValueError: as `Utterances` does.
  """
  transcribed = hasattr(labels, "frames_needed")
  return Utterances(
    source,
    labels=labels,
    fit_labels=transcribed,
    min_samples=min_samples,
    min_frames=min_frames,
    max_samples=buckets.lengths[-1] if transcribed else None,
    max_seconds=max_seconds,
    conv_layers=conv_layers,
    variance_floor=variance_floor,
  )


def evaluation_utterances(
  source: RecordingSource,
  *,
  labels: Labels | None = None,
  max_seconds: float = decoding.MAX_SECONDS,
  conv_layers: layout.ConvLayers = layout.CONV_LAYERS,
  variance_floor: float = decoding.VARIANCE_FLOOR,
) -> Utterances:
  """Every utterance that has a frame, whatever its label.

  Args:
    source: recordings.
    labels: what makes the labels; None when they do not matter.
    max_seconds: leave out longer ones.
    conv_layers: (channels, kernel, stride) of the model's convolutions.
    variance_floor: see `decoding.normalise`.

  Raises:
    ValueError: as `Utterances` does.
  """
  return Utterances(
    source,
    labels=labels,
    max_seconds=max_seconds,
    conv_layers=conv_layers,
    variance_floor=variance_floor,
  )


def _frames_needed(source: RecordingSource, labels: Any) -> np.ndarray:
  """Returns int64 [n], the fewest frames that CTC can spell each label in."""
  texts = source.texts() or [""] * len(source)
  without = [i for i, text in enumerate(texts) if not text.strip()]
  if without:
    raise ValueError(
      f"Utterances: {shown(source.record_name(without[0]))} has no text, which "
      f"the labels are made of, and so have {len(without)} of {len(texts)}; "
      "name the source's column of texts, or leave out such utterances"
    )
  labels.check_texts(texts, lambda i: shown(source.record_name(i)))
  needed = [labels.frames_needed(text) for text in texts]
  return np.array(needed, np.int64)
