"""Images to train on and to evaluate: a source's records, decoded."""

from d2v_jax.data.images import decoding
from d2v_jax.data.source import Example, Source


class DecodedImages:
  """A source with its images decoded and its corrupt records passed over.

  Item i is {'image': uint8 [H, W, channels], 'label' if the source has one,
  'requested': i, 'record': j}: record i, or when that cannot be decoded the
  next one that can (j = i + 1, ..., around the end). So item i is always the
  same, whatever was read before.

  Args:
    source: what to decode.
    channels: 1 (grey) or 3 (RGB).

  Attributes:
    class_names: the source's, or ().

  Raises:
    ValueError: other `channels`, an empty source, or, when an item is read,
      no decodable record at all.
  """

  def __init__(self, source: Source, channels: int = 3):
    if channels not in (1, 3):
      raise ValueError(
        f"DecodedImages: channels must be 1 or 3, got {channels}"
      )
    if len(source) == 0:
      raise ValueError("DecodedImages: the source has no records")
    self._source = source
    self._channels = channels
    self.class_names = getattr(source, "class_names", ())

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> Example:
    total = len(self)
    for offset in range(total):
      position = (index + offset) % total
      record = self._source[position]
      image = decoding.decode(record["image"], self._channels)
      if image is not None:
        at = {"requested": index, "record": position}
        return {**record, "image": image, **at}
    raise ValueError(
      f"DecodedImages: none of the {total} records can be decoded, from "
      f"{self.record_name(0)} on; check that they are images"
    )

  def record_name(self, index: int) -> str:
    """Returns the source's name of record `index`."""
    return self._source.record_name(index)
