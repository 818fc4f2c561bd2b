import json

import numpy as np

from tests import test_goldens
from tests.goldens import files, network, shrink

HERE = sorted(files.HERE.glob("*.npz"))


def test_every_kind_is_in_the_repository():
  metas = [files.load(path)[0] for path in HERE]
  kinds = {meta["kind"] for meta in metas if "kind" in meta}
  assert kinds - {"pure"} == set(network.KINDS)
  v2 = [meta for meta in metas if meta.get("kind") == "v2"]
  modalities = {m for meta in v2 for m in meta["resolved_config"]["modalities"]}
  assert modalities == {"image", "audio", "text"}
  functions = {m["case"] for m in metas if m["case"].startswith("pure_")}
  assert functions == set(test_goldens.FUNCTIONS)
  numbers = [*HERE, files.HERE / "recipe.json"]
  size = sum(file.stat().st_size for file in numbers)
  assert size < 3e6


def test_folders_of_further_cases(tmp_path, monkeypatch):
  for folder, name in (("a", "x"), ("a", "recipe_b"), ("b", "x")):
    (tmp_path / folder).mkdir(exist_ok=True)
    np.savez(tmp_path / folder / f"{name}.npz", meta="{}")
  name = HERE[0].name
  (tmp_path / "b" / name).write_bytes(b"")
  monkeypatch.setenv("D2V_GOLDENS", f"{tmp_path / 'a'}:{tmp_path / 'b'}")
  found = {path.name: path.parent for path in files.find()}
  assert set(found) == {f.name for f in HERE} | {"x.npz", "recipe_b.npz"}
  assert found["x.npz"] == tmp_path / "a"
  assert found[name] == tmp_path / "b"
  monkeypatch.delenv("D2V_GOLDENS")
  assert files.find() == HERE


def test_shrinking_keeps_the_numbers(tmp_path):
  rng = np.random.default_rng(0)
  names = [f"{tree}/a" for tree in ("param", "teacher", *shrink.TREES)]
  names += ["step0/x", "step1/x", "debug/all", "step2/input/img", "loss"]
  arrays = {name: rng.normal(size=6).astype("f4") for name in names}
  meta = {"case": "c", "arrays": {}}
  np.savez(tmp_path / "c.npz", meta=json.dumps(meta), **arrays)
  (tmp_path / "small").mkdir()
  path = shrink.shrink(tmp_path / "c.npz", tmp_path / "small")
  meta, small = files.load(path)
  assert meta == {"case": "c"}
  kept = {"param/a", "teacher/a", "step0/x", "step2/input/img", "loss"}
  assert set(small) == kept | {f"{tree}_fingerprint" for tree in shrink.TREES}
  for name in kept:
    np.testing.assert_array_equal(small[name], arrays[name])
  expected = files.fingerprint({"a": arrays["grad/a"]})
  np.testing.assert_array_equal(small["grad_fingerprint"], expected)
