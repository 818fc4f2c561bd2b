"""Images in arrays."""

import numpy as np

from d2v_jax.data import arrays as arrays_lib
from d2v_jax.data.array_files import ArrayFiles
from d2v_jax.data.arrays import Arrays
from d2v_jax.data.images.pixels import MAX_CHANNELS
from d2v_jax.data.label_values import LabelValues, labelled
from d2v_jax.data.source import Record

_KINDS = "uif"


class ImageArrays:
  """Images in arrays, each read when it is asked for.

  Args:
    arrays: name -> array: images [n, H, W] or [n, H, W, C], or a list of [H, W]
      or [H, W, C] of unsigned or signed integers or floats; labels
      [n], whole numbers or texts.
    name: of all of them, for names of records.
    image: name of the images.
    label: name of the labels; may be missing if it is the default; None for
      none.
    classes: see `labelled`.

  Raises:
    ValueError: no such array, another shape or type, or wrong labels.
  """

  def __init__(
    self,
    arrays: Arrays,
    name: str,
    *,
    image: str = "image",
    label: str | None = "label",
    classes: tuple[str, ...] | None = None,
  ):
    owner = "ImageArrays"
    images = arrays_lib.required(arrays, image, "image", owner)
    _check(images, image)
    labels = arrays_lib.taken(arrays, label, "label", "label", owner)
    arrays_lib.check_equally_long({image: images, str(label): labels}, owner)
    self._arrays, self._image, self._name = arrays, image, name
    self.class_names: tuple[str, ...] = ()
    self.labels: LabelValues | None = None
    if labels is not None:
      self.labels, self.class_names = labelled(
        labels, f"{owner}: {label!r}", classes=classes
      )

  def __len__(self) -> int:
    return len(self._arrays[self._image])

  def __getitem__(self, index: int) -> Record:
    image = np.array(self._arrays[self._image][index])
    record: Record = {"image": image[..., None] if image.ndim == 2 else image}
    if self.labels is not None:
      record["label"] = self.labels[index]
    return record

  def record_name(self, index: int) -> str:
    """Returns for example 'digits.npz[3]'."""
    return f"{self._name}[{index}]"


class ImageArrayFiles(ImageArrays):
  """Images in .npy or .npz files, which stay there.

  Args:
    path: see `ArrayFiles`.
    image: see `ImageArrays`, as the others.
    label: name of the labels.
    classes: their names.

  Raises:
    ValueError: as `ArrayFiles` and `ImageArrays`.
  """

  def __init__(
    self,
    path: str,
    image: str = "image",
    label: str | None = "label",
    classes: tuple[str, ...] | None = None,
  ):
    files = ArrayFiles(path, image, "ImageArrays")
    super().__init__(files, path, image=image, label=label, classes=classes)


def _check(images: object, name: str) -> None:
  whole = isinstance(images, np.ndarray) and images.dtype != object
  some = [images] if whole else images
  for i, image in enumerate(some):  # type: ignore[arg-type, var-annotated]
    array = np.asarray(image)
    shape = array.shape[1:] if whole else array.shape
    row = "" if whole else f", row {i},"
    if array.dtype.kind not in _KINDS:
      raise ValueError(
        f"ImageArrays: {name!r}{row} has the type {array.dtype}; it must be of "
        "unsigned or signed integers or floats"
      )
    if len(shape) == 3 and shape[0] <= 4 < min(shape[1:]):
      raise ValueError(
        f"ImageArrays: {name!r}{row} has the shape {list(array.shape)}, with "
        "the channels in front; put them last"
        + (": np.moveaxis(images, 1, 3)" if whole else "")
      )
    if len(shape) not in (2, 3) or not 1 <= (*shape, 1, 1)[2] <= MAX_CHANNELS:
      wanted = "[n, H, W] or [n, H, W, C]" if whole else "[H, W] or [H, W, C]"
      raise ValueError(
        f"ImageArrays: {name!r}{row} has the shape {list(array.shape)}; it "
        f"must be {wanted}, C 1 to {MAX_CHANNELS}"
      )
