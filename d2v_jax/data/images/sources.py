"""Where images come from.

Records are {'image': uint8 [H, W, C] or encoded bytes, 'label': int (absent
when unlabelled)}.
"""

import os
import pathlib

import numpy as np

from d2v_jax.data.source import Record, Source

EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


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
    self._labels = data.target[rows]
    self._split = split

  def __len__(self) -> int:
    return len(self._images)

  def __getitem__(self, index: int) -> Record:
    return {"image": self._images[index], "label": int(self._labels[index])}

  def record_name(self, index: int) -> str:
    """Returns for example 'digits/train[3]'."""
    return f"digits/{self._split}[{index}]"


class ImageFolder:
  """Image files under a folder, in sorted order, read when asked for.

  Args:
    path: a mounted folder; links inside it are followed.
    labels: True: the sorted names of the sub-folders that hold images are the
      classes 0, 1, ... False: no labels, files are taken from any depth.
      None: labelled when there are such sub-folders and no image beside them.

  Raises:
    ValueError: no such folder, no images in it, or `labels=True` without
      class folders or with images beside them.
  """

  def __init__(self, path: str, labels: bool | None = None):
    self._root = pathlib.Path(path)
    if not self._root.is_dir():
      raise ValueError(f"ImageFolder: {path!r} is not a folder; check the path")
    files = sorted(_image_files(self._root))
    if not files:
      raise ValueError(
        f"ImageFolder: no images in {path!r} or below it; files must end in "
        f"one of: {', '.join(EXTENSIONS)}"
      )
    loose = [file for file in files if "/" not in file]
    if labels and loose:
      raise ValueError(
        f"ImageFolder: labels=True needs every image in a class folder, but "
        f"{len(loose)} lie directly in {path!r}, for example {loose[0]!r}; "
        "move them or set labels=False"
      )
    self._files = files
    self.labelled = not loose if labels is None else labels
    self.class_names = (
      tuple(sorted({file.split("/")[0] for file in files}))
      if self.labelled
      else ()
    )
    self._class_ids = {name: i for i, name in enumerate(self.class_names)}

  def __len__(self) -> int:
    return len(self._files)

  def __getitem__(self, index: int) -> Record:
    file = self._files[index]
    record: Record = {"image": (self._root / file).read_bytes()}
    if self.labelled:
      record["label"] = self._class_ids[file.split("/")[0]]
    return record

  def record_name(self, index: int) -> str:
    """Returns the path of the file."""
    return str(self._root / self._files[index])


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
    import tensorflow_datasets as tfds  # slow to import

    try:
      made = tfds.builder(builder, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
      raise ValueError(_how_to_prepare(builder, data_dir)) from error
    if image_key not in made.info.features:
      raise ValueError(
        f"TfdsImages: {builder!r} has no feature {image_key!r}; choose "
        f"image_key from: {', '.join(sorted(made.info.features))}"
      )
    raw = {image_key: tfds.decode.SkipDecoding()}
    try:
      self._data = made.as_data_source(split, decoders=raw)
    except (AssertionError, FileNotFoundError, NotImplementedError) as error:
      raise ValueError(_how_to_prepare(builder, data_dir)) from error
    self._image_key = image_key
    self._label_key = label_key if label_key in made.info.features else None
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
  "digits": Digits,
  "folder": ImageFolder,
  "tfds": TfdsImages,
}


def _image_files(root: pathlib.Path) -> list[str]:
  """Returns the images below `root` as relative paths with forward slashes."""
  files = []
  for folder, _, names in os.walk(root, followlinks=True):
    inside = pathlib.Path(folder).relative_to(root)
    files += [
      (inside / name).as_posix()
      for name in names
      if name.lower().endswith(EXTENSIONS) and not name.startswith(".")
    ]
  return files


def _interleaved(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Returns an order in which every prefix has its share of each class."""
  shuffled = rng.permutation(len(labels))
  order = np.empty(len(labels))
  for label in np.unique(labels):
    rows = shuffled[labels[shuffled] == label]
    order[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
  return shuffled[np.argsort(order[shuffled], kind="stable")]


def _how_to_prepare(builder: str, data_dir: str | None) -> str:
  return (
    f"TfdsImages: {builder!r} is not prepared in array_record format in "
    f"{data_dir or 'the default data_dir'}; prepare it once with "
    f"tfds.builder({builder!r}, data_dir={data_dir!r}, "
    "file_format='array_record').download_and_prepare(), which for some "
    "builders needs TensorFlow, or set data_dir"
  )
