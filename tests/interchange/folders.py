"""How tests read, change and compare folders."""

import json

from etils import epath

from d2v_jax.interchange import files
from d2v_jax.interchange.weights import flatten


def assert_bit_equal(a, b):
  a, b = flatten(a), flatten(b)
  assert a.keys() == b.keys()
  for path in a:
    assert a[path].dtype == b[path].dtype, path
    assert a[path].tobytes() == b[path].tobytes(), path


def edit(folder, name="config.json", **fields):
  path = folder / name
  content = json.loads(path.read_text())
  path.write_text(json.dumps({**content, **fields}))


def weights(folder, name="model.safetensors"):
  return files.Folder(epath.Path(folder)).arrays(name)


def save(folder, arrays, name="model.safetensors"):
  (folder / name).write_bytes(files.to_bytes(arrays))
