"""Data sets that TensorFlow Datasets has prepared, read without TensorFlow."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any


class PreparedBuilder:
  """One data set, whose splits are read at any place.

  Args:
    source: what it is opened for, with which errors begin.
    name: of the builder, with config and version if need be ('a/b:1.0.0').
    data_dir: folder of prepared data sets; None for the library's default.

  Raises:
    ValueError: there is none of this name.
  """

  def __init__(self, source: str, name: str, data_dir: str | None):
    import tensorflow_datasets as tfds  # slow to import

    self._source, self._name, self._data_dir = source, name, data_dir
    with self._explained(tfds.core.DatasetNotFoundError):
      self._builder = tfds.builder(name, data_dir=data_dir)
    self._as_stored = tfds.decode.SkipDecoding

  @property
  def features(self) -> Any:
    """What each record has, by name."""
    return self._builder.info.features

  def require(self, argument: str, feature: str) -> None:
    """Checks that there is a feature.

    Raises:
      ValueError: names the argument that it was given by, and what there is.
    """
    if feature not in self.features:
      raise ValueError(
        f"{self._source}: {self._name!r} has no feature {feature!r}; choose "
        f"{argument} from: {', '.join(sorted(self.features))}"
      )

  def records(self, split: str, as_stored: Sequence[str] = ()) -> Any:
    """The records of a split, by their numbers.

    Args:
      split: any split expression, such as 'train' or 'train[:10%]'.
      as_stored: features that are left as the bytes that they are in the files.

    Raises:
      ValueError: it is not there in array_record format.
    """
    decoders = {name: self._as_stored() for name in as_stored} or None
    # What the library raises where files are missing, or of another format.
    missing = (AssertionError, FileNotFoundError, NotImplementedError)
    with self._explained(*missing):
      return self._builder.as_data_source(split, decoders=decoders)

  @contextlib.contextmanager
  def _explained(self, *errors: type[Exception]) -> Iterator[None]:
    try:
      yield
    except errors as error:
      raise ValueError(
        f"{self._source}: {self._name!r} is not prepared in array_record "
        f"format in {self._data_dir or 'the default data_dir'}; prepare it "
        f"once with tfds.builder({self._name!r}, data_dir={self._data_dir!r}, "
        "file_format='array_record').download_and_prepare(), which for some "
        "builders needs TensorFlow, or set data_dir"
      ) from error
