"""What the content of a file looks like, whatever its name says."""

_LFS = b"version https://git-lfs"
# Beginnings, and what they are the beginning of.
_KINDS = (
  (_LFS, "a pointer of Git LFS; `git lfs pull` brings the file"),
  (b"/annex/objects/", "a pointer of git-annex; `git annex get` brings it"),
  (b"../.git/annex/", "a pointer of git-annex; `git annex get` brings it"),
  (b"%PDF", "PDF"),
  (b"PK\x03\x04", "a ZIP archive"),
  (b"\x1f\x8b", "gzip"),
  (b"\xff\xd8\xff", "JPEG"),
  (b"\x89PNG", "PNG"),
  (b"GIF8", "GIF"),
  (b"II*\0", "TIFF"),
  (b"MM\0*", "TIFF"),
  (b"\0\0\0\x0cjP", "JPEG 2000"),
  (b"\xff\x0a", "JPEG XL"),
  (b"\0\0\0\x0cJXL", "JPEG XL"),
  (b"8BPS", "a Photoshop file"),
  (b"SIMPLE  =", "FITS"),
  (b"\x93NUMPY", "a NumPy array"),
  (b"\x89HDF", "HDF5"),
  (b"OggS", "Ogg"),
  (b"fLaC", "FLAC"),
  (b"ID3", "MP3"),
  (b"#!AMR", "AMR"),
  (b"caff", "CAF"),
  (b".snd", "AU"),
  (b"riff", "Wave64"),
  (b"\x1aE\xdf\xa3", "Matroska or WebM"),
  (b"0&\xb2u", "Windows Media"),
  (b"NIST_1A", "NIST SPHERE"),
)
_BRANDS = {
  b"avif": "AVIF",
  b"heic": "HEIF",
  b"heix": "HEIF",
  b"mif1": "HEIF",
  b"msf1": "HEIF",
  b"M4A ": "MPEG-4 audio",
}


def look_of(data: bytes) -> str:
  """Says what bytes look like, such as 'PDF', for the reason of a refusal.

  Args:
    data: content of a file.
  """
  if not data:
    return "empty"
  for beginning, kind in _KINDS:
    if data.startswith(beginning):
      return kind
  if data[:4] in (b"RIFF", b"RF64", b"FORM") and len(data) >= 12:
    return data[8:12].decode("latin-1").strip()
  if data[4:8] == b"ftyp":
    return _BRANDS.get(data[8:12], "MPEG-4")
  if not any(data[:4096]):
    return "zeros"
  start = data[:4096].lstrip().lower()
  if start.startswith((b"<!doctype html", b"<html")):
    return "a web page"
  if start.startswith((b"<?xml", b"<svg")):
    return "XML or SVG"
  if all(byte >= 32 or byte in b"\t\n\r\f" for byte in start):
    return "text"
  return "of an unknown kind"
