"""What a network is shown: each example made ready by itself."""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from d2v_jax import config as config_lib
from d2v_jax.config import Spec
from d2v_jax.data.buckets import growing
from d2v_jax.data.class_sets import ClassSets
from d2v_jax.data.corrupt import problem
from d2v_jax.data.layout import Inputs, TokenInputs
from d2v_jax.modalities import MODALITIES

# Padded length, samples or tokens.
SHORTEST = {"signal": 64, "speech": 4_000, "text": 16}

_NO_LIMIT = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Example:
  """One example as the network takes it: arrays without a batch axis."""

  index: int
  arrays: dict[str, np.ndarray]
  label: int | float | list[bool] | None


class Examples:
  """The usable records of a source, made ready for a network one by one.

  What an example becomes depends on nothing but itself; so does the length that
  it is padded to.

  Args:
    inputs: what the network takes.
    config: the run's config.
    source: what `open_input` returned.
    longest: samples or tokens; None where examples have no length.
    cut: cut what is longer, instead of refusing it.
    pad: False: the network's result would change with padding, so each example
      keeps its own length.

  Attributes:
    lengths: int64 [n], samples or tokens; None where examples have none.
    left_out: name -> reason of records that are known to be of no use.
    listing: what is left out of a folder, in words; '' where nothing is.
    class_names: of the source.

  Raises:
    ValueError: the run and the source do not fit, no record is usable, or one
      is too long.
  """

  def __init__(
    self,
    inputs: Inputs,
    config: Spec,
    source: Any,
    *,
    longest: int | None = None,
    cut: bool = False,
    pad: bool = True,
  ):
    data = dict(config.get("data") or {})
    # What the run has learned from; the input has labels of its own, or none.
    data.pop("labels", None)
    # So that the lengths are those in front of the cut.
    if isinstance(inputs, TokenInputs):
      inputs = dataclasses.replace(inputs, max_tokens=_NO_LIMIT)
      if not data.get("tokenizer"):
        raise ValueError(
          "the run does not say which tokenizer it was made with; give "
          "--tokenizer, a tokenizer.json or a folder with vocab.json and "
          "merges.txt."
        )
    dataset = config_lib.call(
      MODALITIES[config["modality"]].data,
      data,
      "the run's config.data",
      run={"inputs": inputs},
    )
    self._source, self._transform = dataset.evaluation(
      source, "the run's config.data"
    )
    self.lengths = getattr(self._source, "lengths", None)
    self.class_names = tuple(getattr(source, "class_names", ()))
    self.left_out = _left_out(source, self._source)
    listing = getattr(source, "listing", None)
    self.listing = listing.summary() if listing is not None else ""
    self._unit = "tokens" if isinstance(inputs, TokenInputs) else "samples"
    self._rate = getattr(inputs, "rate", 0)
    self._longest, self._cut, self._pad = longest, cut, pad
    self._padded = None
    if longest is not None:
      self._padded = growing(SHORTEST[config["modality"]], longest)
      self._check_lengths()

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> Example | None:
    """Returns example `index`; None if it cannot be read or decoded."""
    example = self._source[index]
    if example["record"] != example["requested"]:
      return None
    label = example.get("label")
    if isinstance(label, tuple):
      label = ClassSets(len(self.class_names))(example).tolist()
    if self._padded is not None:
      example["length"] = self._length(index, example)
    arrays = self._transform(example)
    arrays.pop("label", None)
    return Example(index, arrays, label)

  def name(self, index: int) -> str:
    """Returns the path or the row of example `index`."""
    return self._source.record_name(index)

  def problem(self, index: int) -> str:
    """Returns why example `index` cannot be used."""
    return problem(self._source, index)

  def order(self) -> np.ndarray:
    """Returns int64 [n]: from the longest to the shortest, else as they are.

    If memory does not suffice, that shows at once.
    """
    if self.lengths is None:
      return np.arange(len(self))
    return np.argsort(-self.lengths, kind="stable")

  def digest(self, stamp: str) -> str:
    """Tells these examples from others, by names, lengths and a stamp."""
    found = hashlib.sha256(stamp.encode())
    for i in range(len(self)):
      length = 0 if self.lengths is None else int(self.lengths[i])
      found.update(f"{self.name(i)!a} {length}\n".encode())
    return found.hexdigest()[:16]

  def _length(self, index, example):
    # The header of a file may have promised another number of samples.
    count = len(example["samples" if "samples" in example else "tokens"])
    if count > self._longest and not self._cut:
      raise self._too_long(index, count, 1)
    if not self._pad:
      return min(count, self._longest)
    return self._padded.lengths[int(self._padded.assign(count))]

  def _check_lengths(self):
    longer = np.flatnonzero(self.lengths > self._longest)
    if len(longer) and not self._cut:
      first = int(longer[0])
      raise self._too_long(first, int(self.lengths[first]), len(longer))

  def _too_long(self, index, count, number):
    most, option = self._longest, "--max_tokens"
    if self._unit == "samples":
      option = "--max_seconds"
      count, most = (f"{x / self._rate:.6g} s" for x in (count, most))
    else:
      count, most = f"{count} tokens", f"{most} tokens"
    return ValueError(
      f"{self.name(index)} has {count}, more than {most} ({number} of "
      f"{len(self)} are too long); raise {option} if the network allows, or "
      "add --cut to use the beginning."
    )


def _left_out(source, usable) -> dict[str, str]:
  """A source's records that are not among the usable ones, with reasons.

  The usable ones are in the source's order.
  """
  if len(usable) == len(source):
    return {}
  known = getattr(usable, "unreadable", {})
  names, k = {}, 0
  for i in range(len(source)):
    name = source.record_name(i)
    if k < len(usable) and usable.record_name(k) == name:
      k += 1
    else:
      names[name] = known.get(name, "nothing in it that can be used")
  return names
