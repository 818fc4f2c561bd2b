"""Features in a bucket: one of an emulator of the object store."""

import numpy as np
import pytest

from d2v_jax.extraction import destination
from tests.training.bucket_test import bucket as bucket

KINDS = ["npz", "parquet"]


def test_on_a_disk_parts_are_beside_the_file(tmp_path):
  found = destination.checked(f"{tmp_path}/a/x.npz", None, KINDS, False)
  assert str(found.parts) == f"{tmp_path}/a/x.npz.parts"
  assert list((tmp_path / "a").iterdir()) == []
  (tmp_path / "t").write_bytes(b"abc")
  found.put(tmp_path / "t")
  assert (tmp_path / "a" / "x.npz").read_bytes() == b"abc"
  assert not (tmp_path / "t").exists()


# What a library says to itself of pieces of more than a megabyte.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.slow
def test_in_a_bucket(bucket, tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  found = destination.checked("gs://bucket/f/x.npz", None, KINDS, False)
  assert (found.kind, bucket.names()) == ("npz", set())
  assert found.parts.parent == tmp_path / "d2v_jax" / "features"
  other = destination.checked("gs://bucket/g/x.npz", None, KINDS, False)
  assert other.parts != found.parts

  # In several pieces.
  content = np.random.default_rng(0).bytes(40_000_000)
  (tmp_path / "t").write_bytes(content)
  found.put(tmp_path / "t")
  assert bucket.content("f/x.npz") == content
  found.beside(".json", "{}")
  assert bucket.text("f/x.npz.json") == "{}"
  assert bucket.names() == {"f/x.npz", "f/x.npz.json"}

  with pytest.raises(ValueError, match="exists; choose another"):
    destination.checked("gs://bucket/f/x.npz", None, KINDS, False)
  destination.checked("gs://bucket/f/x.npz", None, KINDS, True)
  with pytest.raises(ValueError, match="is a folder"):
    destination.checked("gs://bucket/f", "npz", KINDS, True)
  with pytest.raises(ValueError, match=r"--output=gs://none/f\.npz"):
    destination.checked("gs://none/f.npz", None, KINDS, True)
