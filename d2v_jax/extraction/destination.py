"""Where features are written: a file on a disk or in a bucket."""

import dataclasses
import hashlib
import os
import pathlib
import shutil

from etils import epath

from d2v_jax import storage

_BLOCK = 2**24


@dataclasses.dataclass(frozen=True)
class Destination:
  """A file that is to be written, and where what is computed is kept till then.

  Attributes:
    file: with its name.
    kind: its format.
    parts: a folder on a disk, next to the file where that is on one.
  """

  file: epath.Path
  kind: str
  parts: pathlib.Path

  def put(self, temporary: pathlib.Path) -> None:
    """Makes a whole file that lies in `parts` this one, in one piece.

    Raises:
      ValueError: the bucket does not take it.
    """
    if not storage.in_bucket(self.file):
      temporary.replace(self.file)
      return
    try:
      with temporary.open("rb") as source, self.file.open("wb") as target:
        shutil.copyfileobj(source, target, _BLOCK)
    except Exception as e:  # each kind of storage has its own classes
      raise ValueError(
        f"cannot write --output={self.file}: {e}; what is computed is kept in "
        f"{self.parts}, and the same command goes on from there."
      ) from e

  def beside(self, ending: str, text: str) -> None:
    """Writes a small file whose name is this one's and an ending."""
    self.file.with_name(f"{self.file.name}{ending}").write_text(text)


def checked(
  output: str, kind: str | None, kinds: list[str], overwrite: bool
) -> Destination:
  """The file to write, once it is sure that it can be made.

  Args:
    output: path on a disk, or gs://bucket/path.
    kind: of its format; None: as its name ends.
    kinds: that there are.
    overwrite: whether there may be one already.

  Raises:
    ValueError: it is a folder, is there, or cannot be written; the format is
      none.
  """
  file = epath.Path(output)
  kind = kind or file.suffix.removeprefix(".")
  if kind not in kinds:
    raise ValueError(
      f"--output={output}: unknown format {kind!r}; choose one of: "
      f"{', '.join(kinds)}, by the name's ending or with --format."
    )
  try:
    taken = "folder" if file.is_dir() else "file" if file.exists() else ""
    if taken != "folder" and (overwrite or not taken):
      _try(file)
  except Exception as e:  # each kind of storage has its own classes
    extra = ""
    if isinstance(e, ImportError):
      extra = " pip install gcsfs, or install d2v_jax with the extra `gcs`."
    raise ValueError(
      f"cannot write --output={output}: {e}; choose another folder.{extra}"
    ) from e
  if taken == "folder":
    raise ValueError(f"--output={output} is a folder; give the name of a file.")
  if taken and not overwrite:
    raise ValueError(
      f"--output={output} exists; choose another name, or add --overwrite."
    )
  return Destination(file, kind, _parts(file))


def _try(file: epath.Path) -> None:
  file.parent.mkdir(parents=True, exist_ok=True)
  attempt = file.with_name(f".{file.name}.writable-{os.getpid()}")
  attempt.write_text("")
  attempt.unlink()


def _parts(file: epath.Path) -> pathlib.Path:
  if not storage.in_bucket(file):
    return pathlib.Path(f"{file}.parts")
  # Nothing can be appended to in a bucket.
  digest = hashlib.sha256(str(file).encode()).hexdigest()[:16]
  name = f"{file.name}-{digest}.parts"
  return storage.cache_folder("features") / name
