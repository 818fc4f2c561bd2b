import pathlib

import pytest
from etils import epath

from d2v_jax import storage


@pytest.mark.parametrize("path", ["gs://bucket/run", "s3://bucket/a/b"])
def test_buckets(path):
  assert storage.in_bucket(path)


@pytest.mark.parametrize("path", ["runs/a", "/runs/a", "gs:/bucket", "a:b"])
@pytest.mark.parametrize("kind", [str, pathlib.Path, epath.Path])
def test_disks(path, kind):
  assert not storage.in_bucket(kind(path))


def test_what_can_be_made_again(monkeypatch, tmp_path):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  assert storage.cache_folder("lists") == tmp_path / "d2v_jax" / "lists"
  monkeypatch.setenv("XDG_CACHE_HOME", "")
  monkeypatch.setattr(pathlib.Path, "home", lambda: tmp_path / "me")
  expected = tmp_path / "me" / ".cache" / "d2v_jax" / "lists"
  assert storage.cache_folder("lists") == expected
