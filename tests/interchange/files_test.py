"""Files in a folder: in parts, behind links, damaged."""

import json

import jax
import numpy as np
import pytest

from d2v_jax.interchange.huggingface import folder as huggingface
from d2v_jax.interchange.weights import InterchangeError
from tests.interchange.folders import (
  assert_bit_equal,
  save,
  weights,
)
from tests.interchange.torch_file import torch_files


def test_shards(exported):
  folder = exported("speech")
  plain = huggingface.read(folder)
  arrays = weights(folder)
  (folder / "model.safetensors").unlink()
  names, table = sorted(arrays), {}
  for i in range(2):
    shard = f"model-{i}.safetensors"
    save(folder, {k: arrays[k] for k in names[i::2]}, shard)
    table |= dict.fromkeys(names[i::2], shard)
  index = folder / "model.safetensors.index.json"
  index.write_text(json.dumps({"weight_map": table}))
  assert_bit_equal(huggingface.read(folder).params, plain.params)

  index.write_text(json.dumps({"weight_map": {**table, "more": shard}}))
  with pytest.raises(InterchangeError, match=r"differ in 1 weights.* more"):
    huggingface.read(folder)
  for outside in ("../secret", "/etc/passwd", "..", "a\\b", ""):
    index.write_text(json.dumps({"weight_map": {"x": outside}}))
    with pytest.raises(InterchangeError, match="not the name of a file in the"):
      huggingface.read(folder)
  index.write_text(json.dumps({"weight_map": {"x": 3}}))
  with pytest.raises(InterchangeError, match="must map names to files"):
    huggingface.read(folder)


def test_shards_that_torch_saved(exported):
  folder = exported("text")
  plain = huggingface.read(folder)
  arrays = weights(folder)
  (folder / "model.safetensors").unlink()
  names, table = sorted(arrays), {}
  for i in range(2):
    shard = f"pytorch_model-{i}.bin"
    torch_files.save(folder / shard, {k: arrays[k] for k in names[i::2]})
    table |= dict.fromkeys(names[i::2], shard)
  index = folder / "pytorch_model.bin.index.json"
  index.write_text(json.dumps({"weight_map": table}))
  assert_bit_equal(huggingface.read(folder).params, plain.params)
  index.unlink()
  with pytest.raises(InterchangeError, match=r"and pytorch_model\.bin\.index"):
    huggingface.read(folder)


def test_links_may_not_leave_the_folder(exported, tmp_path):
  folder = exported("speech")
  secret = tmp_path / "elsewhere/secret.json"
  secret.parent.mkdir()
  (folder / "config.json").rename(secret)
  (folder / "config.json").symlink_to(secret)
  with pytest.raises(
    InterchangeError, match="outside of the folder; it was no"
  ):
    huggingface.read(folder)
  (folder / "config.json").unlink()
  hub = tmp_path / "hub"
  (hub / "snapshots").mkdir(parents=True)
  (hub / "blobs").mkdir()
  snapshot = hub / "snapshots/abc"
  folder.rename(snapshot)
  secret.rename(hub / "blobs/123")
  (snapshot / "config.json").symlink_to("../../blobs/123")
  assert huggingface.read(snapshot).modality == "speech"


def test_half_precision(exported):
  folder = exported("vision")
  plain = huggingface.read(folder).params
  halves = {k: v.astype(np.float16) for k, v in weights(folder).items()}
  save(folder, halves)
  back = huggingface.read(folder).params
  expected = jax.tree.map(lambda x: x.astype(np.float16).astype("f4"), plain)
  assert_bit_equal(back, expected)


def test_bfloat16(exported):
  import ml_dtypes

  folder = exported("vision")
  plain = huggingface.read(folder).params
  kind = ml_dtypes.bfloat16
  save(folder, {k: v.astype(kind) for k, v in weights(folder).items()})
  back = huggingface.read(folder).params
  expected = jax.tree.map(lambda x: x.astype(kind).astype("f4"), plain)
  assert_bit_equal(back, expected)


@pytest.mark.parametrize(
  "content, message",
  [
    (b"{", "config.json is not JSON"),
    (b"[" * 100_000, "config.json is not JSON"),
    (b"[1]", "must hold a JSON object, got list"),
    (b"\xff", "config.json is not JSON"),
    (b" " * (1 << 20) + b"{}", "more than the 1048576 that such a file may"),
  ],
)
def test_damaged_config(exported, content, message):
  folder = exported("vision")
  (folder / "config.json").write_bytes(content)
  with pytest.raises(InterchangeError, match=message):
    huggingface.read(folder)


def test_damaged_weights(exported, tmp_path):
  folder = exported("vision")
  arrays = weights(folder)
  path = folder / "model.safetensors"
  whole = path.read_bytes()
  for content in (whole[:-10], whole[:20], b"", (2**40).to_bytes(8, "little")):
    path.write_bytes(content)
    with pytest.raises(InterchangeError, match="not a whole safetensors file"):
      huggingface.read(folder)
  name = "encoder.layer.1.output.dense.bias"
  save(folder, {k: v for k, v in arrays.items() if k != name})
  with pytest.raises(
    InterchangeError, match=r"(?s)misshapen.*fc2/bias: \[1, 1"
  ):
    huggingface.read(folder)
  save(folder, arrays | {"stranger": np.zeros(2)})
  with pytest.raises(InterchangeError, match=r"unexpected \(1\):\n  stranger"):
    huggingface.read(folder)
  path.unlink()
  with pytest.raises(InterchangeError, match=r"has none of model.safetensors"):
    huggingface.read(folder)
  with pytest.raises(InterchangeError, match="is not a folder; give the folde"):
    huggingface.read(tmp_path / "nowhere")
  (folder / "config.json").unlink()
  with pytest.raises(InterchangeError, match=r"has no file config.json"):
    huggingface.read(folder)
