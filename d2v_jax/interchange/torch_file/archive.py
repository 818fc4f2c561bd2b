"""The zip archives of torch.save: uncompressed, and read in place."""

import io
import zipfile
import zlib

from d2v_jax.interchange.weights import InterchangeError

_HEADER = 30  # bytes of a local header before its name
_RESAVE = "; open it with torch.load and torch.save it again"


class Archive:
  """The records of an archive by torch.save.

  Args:
    data: the whole file: over an mmap or over bytes.

  Raises:
    InterchangeError: it is cut off or damaged, has paths that lead outside, is
      compressed, or was not written by torch.save.
  """

  def __init__(self, data: memoryview):
    self._data = data
    self._records = _records(data)

  def read(self, name: str) -> memoryview | None:
    """The content of a record, not copied; None where there is none.

    Raises:
      InterchangeError: its content is not what was written.
    """
    info = self._records.get(name)
    if info is None:
      return None
    at = info.header_offset
    head = bytes(self._data[at : at + _HEADER])
    if at < 0 or len(head) < _HEADER or head[:4] != b"PK\x03\x04":
      raise InterchangeError(f"damaged: record {_shown(name)} is not there")
    at += _HEADER + int.from_bytes(head[26:28], "little")
    at += int.from_bytes(head[28:30], "little")
    content = self._data[at : at + info.file_size]
    if len(content) != info.file_size:
      raise InterchangeError(f"cut off: record {_shown(name)} is not whole")
    # PyTorch writes 0 where it was told not to compute the sum.
    if info.CRC and zlib.crc32(content) != info.CRC:
      raise InterchangeError(
        f"damaged: record {_shown(name)} is not what was written (CRC-32); "
        "copy or download the file again"
      )
    return content


def _records(data):
  file = io.BytesIO(data.obj) if isinstance(data.obj, bytes) else data.obj
  try:
    infos = zipfile.ZipFile(file).infolist()
  except Exception as error:  # zipfile's own are only some of what it raises
    raise InterchangeError(
      f"not a whole zip archive ({error}); was its download cut off?"
    ) from error
  infos = [info for info in infos if not _is_folder(info)]
  names = [_checked(info).filename for info in infos]
  if len(set(names)) < len(names):
    raise InterchangeError("refused: its archive has a record twice")
  if sum(info.file_size for info in infos) > len(data):
    raise InterchangeError("refused: the records of its archive overlap")
  tops = [n.split("/")[0] for n in names if n.split("/")[1:] == ["data.pkl"]]
  if len(tops) != 1:
    raise InterchangeError(
      "a zip archive, but not by torch.save, which has one data.pkl"
    )
  top = tops[0] + "/"
  records = {
    info.filename[len(top) :]: info
    for info in infos
    if info.filename.startswith(top)
  }
  if "constants.pkl" in records:
    raise InterchangeError(
      "a TorchScript program, which is code; torch.save the state_dict of the "
      "model that it was made of"
    )
  return records


def _is_folder(info):
  return info.filename.endswith("/") and not info.file_size


def _checked(info):
  name = info.filename
  if "\\" in name or any(p in ("", ".", "..") for p in name.split("/")):
    raise InterchangeError(f"refused the path {_shown(name)} in its archive")
  if info.flag_bits & 1:
    raise InterchangeError(f"record {_shown(name)} is encrypted{_RESAVE}")
  if info.compress_type != zipfile.ZIP_STORED:
    raise InterchangeError(
      f"refused the compressed record {_shown(name)}, "
      f"{info.compress_size} bytes that become {info.file_size}: torch.save "
      f"does not compress{_RESAVE}"
    )
  return info


def _shown(name):
  return ascii(name[:100])
