"""Images to train on and to evaluate: a source's records, decoded."""

import numpy as np

from d2v_jax.data.files.unreadable import Unreadable, shown
from d2v_jax.data.images import decoding
from d2v_jax.data.images.pixels import Form
from d2v_jax.data.source import Example, Record, Source

_SHOWN = 3  # records that an error names


class DecodedImages:
  """A source with its images decoded and its corrupt records passed over.

  Item i is {'image': uint8 [H, W, channels], 'label' if the source has one,
  'requested': i, 'record': j}: record i, or when that cannot be read the next
  one that can (j = i + 1, ..., around the end). So item i is always the same,
  whatever was read before.

  Args:
    source: what to decode.
    form: what images are brought to.

  Attributes:
    class_names: the source's, or ().

  Raises:
    ValueError: an empty source, or, when an item is read, no readable record
      at all.
  """

  def __init__(self, source: Source, form: Form):
    if len(source) == 0:
      raise ValueError("DecodedImages: the source has no records")
    self._source = source
    self._form = form
    self.class_names = getattr(source, "class_names", ())

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> Example:
    total = len(self)
    for offset in range(total):
      position = (index + offset) % total
      try:
        record, image = self._read(position)
      except Unreadable:
        continue
      at = {"requested": index, "record": position}
      return {**record, "image": image, **at}
    some = "; ".join(
      f"{shown(self.record_name(i))}: {self.problem(i)}"
      for i in range(min(_SHOWN, total))
    )
    raise ValueError(
      f"DecodedImages: none of the {total} records can be read ({some})"
    )

  def record_name(self, index: int) -> str:
    """Returns the source's name of record `index`."""
    return self._source.record_name(index)

  def problem(self, index: int) -> str | None:
    """Returns why record `index` cannot be used; None where it can."""
    try:
      self._read(index)
    except Unreadable as error:
      return str(error)
    return None

  def _read(self, index: int) -> tuple[Record, np.ndarray]:
    record = self._source[index]
    return record, decoding.decode(record["image"], form=self._form)
