import numpy as np
import pytest

from d2v_jax.data.images.examples import DecodedImages
from d2v_jax.data.images.pixels import Form
from tests.data.images.pictures import encoded, smooth


class Records(list):
  """A source of given images."""

  def __getitem__(self, index):
    return {"image": super().__getitem__(index), "label": index % 10}

  def record_name(self, index):
    return f"record {index}"


def test_decoded_takes_the_next_good_record():
  good = [encoded(smooth(seed=i), "PNG") for i in range(6)]
  records = Records(good)
  list.__setitem__(records, 2, good[2][:50])
  list.__setitem__(records, 3, b"")
  list.__setitem__(records, 5, b"text")
  decoded = DecodedImages(records, Form(3))
  assert len(decoded) == 6
  assert [decoded[i]["record"] for i in range(6)] == [0, 1, 4, 4, 4, 0]
  assert [decoded[i]["requested"] for i in range(6)] == list(range(6))
  # Image and label stay together.
  assert [decoded[i]["label"] for i in range(6)] == [0, 1, 4, 4, 4, 0]
  np.testing.assert_array_equal(decoded[2]["image"], smooth(seed=4))
  assert decoded.record_name(2) == "record 2"
  assert [decoded.problem(i) for i in (1, 2, 5)] == [
    None,
    "cut short",
    "no image that is read: text",
  ]


def test_decoded_errors():
  with pytest.raises(ValueError, match="has no records"):
    DecodedImages(Records([]), Form(3))
  with pytest.raises(
    ValueError,
    match=r"none of the 2 records can be read \(record 0: .*: empty; rec",
  ):
    DecodedImages(Records([b"", b"x"]), Form(3))[0]
