"""Where images come from.

Records are {'image': uint8 [H, W, C] or encoded bytes, 'label': int (absent
when unlabelled)}.
"""

import numpy as np

from d2v_jax.data.images.arrays import ImageArrayFiles
from d2v_jax.data.images.hf import HfImages
from d2v_jax.data.images.image_files import ImageFolder, ImageTable
from d2v_jax.data.prepared_builder import PreparedBuilder
from d2v_jax.data.source import Record, Source


class Digits:
  """scikit-learn's bundled handwritten digits: 1797 labelled 8 x 8 images.

  Args:
    split: 'train' (1297 records), 'test' (500) or 'all'. The split is a fixed
      permutation in which each class has its share of both parts.

  Raises:
    ValueError: unknown split.
  """

  def __init__(self, split: str = "train"):
    if split not in ("train", "test", "all"):
      raise ValueError(
        f"Digits: unknown split {split!r}; choose one of: all, test, train"
      )
    from sklearn.datasets import load_digits  # slow to import

    data = load_digits()
    order = _interleaved(data.target, np.random.default_rng(0))
    rows = {"test": order[:500], "train": order[500:], "all": order}[split]
    # The pixels are counts 0 to 16.
    images = np.rint(data.images[rows] * (255 / 16)).astype(np.uint8)
    self._images = images[..., None]
    self.labels = data.target[rows]
    self._split = split

  def __len__(self) -> int:
    return len(self._images)

  def __getitem__(self, index: int) -> Record:
    return {"image": self._images[index], "label": int(self.labels[index])}

  def record_name(self, index: int) -> str:
    """Returns for example 'digits/train[3]'."""
    return f"digits/{self._split}[{index}]"


class TfdsImages:
  """A prepared TensorFlow Datasets builder, read without TensorFlow.

  Args:
    builder: name, with config and version if need be ('mnist', 'a/b:1.0.0').
    split: any split expression, such as 'train' or 'train[:10%]'.
    data_dir: folder of prepared data sets; None for the library's default.
    image_key: feature that holds the image.
    label_key: feature that holds the label; ignored when there is none.

  Raises:
    ValueError: the data is not there in array_record format, or it has no
      such split or image feature.
  """

  def __init__(
    self,
    builder: str,
    split: str,
    data_dir: str | None = None,
    image_key: str = "image",
    label_key: str = "label",
  ):
    prepared = PreparedBuilder("TfdsImages", builder, data_dir)
    prepared.require("image_key", image_key)
    self._data = prepared.records(split, as_stored=(image_key,))
    self._image_key = image_key
    self._label_key = label_key if label_key in prepared.features else None
    self._name = f"{builder}/{split}"

  def __len__(self) -> int:
    return len(self._data)

  def __getitem__(self, index: int) -> Record:
    example = self._data[int(index)]
    record = {"image": example[self._image_key]}
    if self._label_key is not None:
      record["label"] = int(example[self._label_key])
    return record

  def record_name(self, index: int) -> str:
    """Returns for example 'mnist/train[3]'."""
    return f"{self._name}[{index}]"


SOURCES: dict[str, type[Source]] = {
  "arrays": ImageArrayFiles,
  "digits": Digits,
  "folder": ImageFolder,
  "hf": HfImages,
  "table": ImageTable,
  "tfds": TfdsImages,
}


def _interleaved(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Returns an order in which every prefix has its share of each class."""
  shuffled = rng.permutation(len(labels))
  order = np.empty(len(labels))
  for label in np.unique(labels):
    rows = shuffled[labels[shuffled] == label]
    order[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
  return shuffled[np.argsort(order[shuffled], kind="stable")]
