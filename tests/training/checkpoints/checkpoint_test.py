import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from d2v_jax.training.checkpoints import checkpoint_files, fingerprint
from d2v_jax.training.checkpoints.checkpoint import Checkpoints
from d2v_jax.training.checkpoints.checkpoint_files import NoValidCheckpoint
from d2v_jax.training.checkpoints.checkpoint_leaves import CheckpointMismatch
from d2v_jax.training.checkpoints.stored_items import load_item

# Reading a damaged array, Orbax drops tasks that TensorStore's threads then
# try to wake: each failure is printed, after our reading is over.
pytestmark = pytest.mark.filterwarnings(
  "ignore:(?s)Exception ignored in.*Event loop is closed"
)

LOOP = {"config": {"lr": 0.1, "betas": [0.9, 0.999]}, "best": -1.5}


def sharding(shape, devices):
  mesh = jax.make_mesh(
    (len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices
  )
  split = len(shape) > 0 and shape[0] % len(devices) == 0
  return NamedSharding(mesh, P("data") if split else P())


def make_items(seed=0, devices=None):
  """Random values in every dtype of a run, split over the devices."""
  devices = devices or jax.devices()
  rng = np.random.default_rng(seed)
  params = {
    "blocks": {"kernel": rng.normal(size=(64, 300)).astype(np.float32)},
    "half": jnp.asarray(rng.normal(size=(8, 5)), jnp.bfloat16),
    "scale": np.float32(rng.normal()),
    "none": {},
  }
  params = jax.tree.map(jnp.asarray, params)
  tx = optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.masked(optax.adamw(1e-3), {**dict.fromkeys(params, True)}),
  )
  opt_state = tx.init(params)
  opt_state = jax.tree.map(
    lambda x: jnp.asarray(rng.normal(size=x.shape) * 9, x.dtype), opt_state
  )
  items = {"params": params, "teacher_params": {}, "opt_state": opt_state}
  return jax.tree.map(
    lambda x: jax.device_put(x, sharding(x.shape, devices)), items
  )


def abstract(items, devices=None):
  devices = devices or jax.devices()
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=sharding(x.shape, devices)
    ),
    items,
  )


def assert_same_bits(actual, expected):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  for a, b in zip(
    jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True
  ):
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
  """Steps 1, 2 and 3, seeded by the step; copied before it is damaged."""
  directory = tmp_path_factory.mktemp("saved") / "checkpoints"
  checkpoints = Checkpoints(directory, keep_latest=3)
  for step in (1, 2, 3):
    checkpoints.save(step, make_items(step), {**LOOP, "step": step})
  checkpoints.close()
  return directory


@pytest.fixture
def directory(saved, tmp_path):
  shutil.copytree(saved, tmp_path / "checkpoints")
  return tmp_path / "checkpoints"


@pytest.fixture
def opened():
  made = []

  def open_(directory, **kwargs):
    made.append(Checkpoints(directory, **kwargs))
    return made[-1]

  yield open_
  for checkpoints in made:
    checkpoints.close()


def data_file(item):
  """The file with most of an item's values."""
  files = [f for f in item.rglob("*") if f.is_file()]
  return max(files, key=lambda f: f.stat().st_size)


def cut(file):
  file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file, position):
  content = bytearray(file.read_bytes())
  content[int(position * (len(content) - 1))] ^= 0x10
  file.write_bytes(content)


def replace(file, old, new):
  text = file.read_text()
  assert text.count(old) == 1
  file.write_text(text.replace(old, new))


DAMAGE = {
  "data cut": lambda d: cut(data_file(d / "params")),
  "data emptied": lambda d: data_file(d / "params").write_bytes(b""),
  "data deleted": lambda d: data_file(d / "params").unlink(),
  "optimizer data cut": lambda d: cut(data_file(d / "opt_state")),
  "manifest cut": lambda d: cut(d / "params/manifest.ocdbt"),
  "manifest deleted": lambda d: (d / "params/manifest.ocdbt").unlink(),
  "metadata cut": lambda d: cut(d / "opt_state/_METADATA"),
  "metadata deleted": lambda d: (d / "opt_state/_METADATA").unlink(),
  "item deleted": lambda d: shutil.rmtree(d / "params"),
  "loop cut": lambda d: cut(d / "loop/metadata"),
  "loop deleted": lambda d: shutil.rmtree(d / "loop"),
  "loop flipped": lambda d: flip(d / "loop/metadata", 0.6),
  "loop changed": lambda d: replace(d / "loop/metadata", "-1.5", "-2.5"),
  "loop not ours": lambda d: (d / "loop/metadata").write_text("[1]"),
  "folder empty": lambda d: (shutil.rmtree(d), d.mkdir()),
}


def check_step_2(checkpoints, damaged):
  step, items, loop = checkpoints.restore(abstract(make_items()))
  assert (step, loop) == (2, {**LOOP, "step": 2})
  assert_same_bits(items, make_items(2))
  assert [path for path, _ in checkpoints.damaged] == damaged
  assert all(reason for _, reason in checkpoints.damaged)


class TestSaveAndRestore:
  def test_gives_back_bits_structure_and_loop(self, saved, opened):
    step, items, loop = opened(saved, keep_latest=3).restore(
      abstract(make_items())
    )
    assert (step, loop) == (3, {**LOOP, "step": 3})
    assert_same_bits(items, make_items(3))

  def test_from_eight_devices_to_one_and_back(self, saved, tmp_path, opened):
    assert len(jax.devices()) > 1
    one = jax.devices()[:1]
    items = opened(saved, keep_latest=3).restore(abstract(make_items(), one))[1]
    assert_same_bits(items, make_items(3))
    kernel = items["params"]["blocks"]["kernel"]
    assert kernel.sharding.device_set == set(one)

    checkpoints = opened(tmp_path / "a")
    checkpoints.save(0, items, {})
    items = checkpoints.restore(abstract(items))[1]
    assert_same_bits(items, make_items(3))
    kernel = items["params"]["blocks"]["kernel"]
    assert kernel.sharding.device_set == set(jax.devices())

  def test_donation_right_after_saving(self, tmp_path, opened):
    checkpoints = opened(tmp_path / "a")
    items = make_items(5)
    checkpoints.save(1, items, {})
    step = jax.jit(lambda t: jax.tree.map(lambda x: x * 0, t), donate_argnums=0)
    for _ in range(3):
      items = step(items)
    restored = checkpoints.restore(abstract(make_items()))[1]
    assert_same_bits(restored, make_items(5))

  def test_saving_is_no_accidental_transfer(self, tmp_path, opened):
    checkpoints = opened(tmp_path / "a")
    items = make_items()
    with jax.transfer_guard("disallow"):
      checkpoints.save(1, items, {})
      assert checkpoints.restore(abstract(items))[0] == 1

  def test_nothing_saved_is_none(self, tmp_path, opened):
    checkpoints = opened(tmp_path / "a/b")
    assert checkpoints.steps() == []
    assert checkpoints.restore(abstract(make_items())) is None

  def test_keeps_the_latest_and_every_nth(self, tmp_path, opened):
    items = {"params": {"x": jnp.ones(3)}}
    checkpoints = opened(tmp_path / "a", keep_latest=2, keep_every=4)
    for step in range(1, 11):
      checkpoints.save(step, items, {})
    checkpoints.wait()
    assert checkpoints.steps() == [4, 8, 9, 10]
    checkpoints.close()
    assert opened(tmp_path / "a").steps() == [4, 8, 9, 10]

  def test_keeps_the_healthy_one_and_that_before_a_bad_step(
    self, tmp_path, opened
  ):
    items = {"params": {"x": jnp.ones(3)}}
    checkpoints = opened(tmp_path / "a", keep_latest=1)
    for step in range(2, 22, 2):
      bad = 11 if step > 11 else 7 if step > 7 else None
      checkpoints.protect(healthy=4 if step > 4 else None, bad=bad)
      checkpoints.save(step, items, {})
    checkpoints.wait()
    assert checkpoints.steps() == [4, 10, 20]

  def test_relative_directory(self, tmp_path, monkeypatch, opened):
    monkeypatch.chdir(tmp_path)
    items = {"params": {"x": jnp.ones(3)}}
    opened("a/b").save(1, items, {})
    assert (tmp_path / "a/b").is_dir()

  def test_existing_step_is_refused(self, directory, opened):
    checkpoints = opened(directory, keep_latest=3)
    with pytest.raises(ValueError, match=r"step 3 exists in .* never overwrit"):
      checkpoints.save(3, make_items(), {})
    assert_same_bits(
      checkpoints.restore(abstract(make_items()))[1], make_items(3)
    )

  @pytest.mark.parametrize(
    ("items", "loop", "match"),
    [
      ({"p": {"x": np.ones(3)}}, {}, "p/x is a ndarray; save jax.Array"),
      ({"p": {"x": jax.random.key(0)}}, {}, "p/x is a .*key_data"),
      ({"loop": {}}, {}, "item name 'loop' is taken"),
      ({"p": {}}, {"x": {1, 2}}, "loop must hold only what JSON can: .*set"),
    ],
  )
  def test_what_cannot_be_saved(self, tmp_path, opened, items, loop, match):
    with pytest.raises(ValueError, match=match):
      opened(tmp_path / "a").save(1, items, loop)

  def test_bad_directory_and_counts(self, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write checkpoints to .*file"):
      Checkpoints(tmp_path / "file/checkpoints")
    with pytest.raises(ValueError, match="keep_latest must be >= 1, got 0"):
      Checkpoints(tmp_path, keep_latest=0)
    with pytest.raises(ValueError, match="keep_every must be >= 1, got -5"):
      Checkpoints(tmp_path, keep_every=-5)

  @pytest.mark.parametrize("give", [None, "uneven"])
  def test_bad_target(self, saved, opened, give):
    target = abstract(make_items())
    uneven = NamedSharding(sharding((), jax.devices()).mesh, P(None, "data"))
    target["params"]["half"] = jax.ShapeDtypeStruct(
      (8, 5), jnp.bfloat16, sharding=give and uneven
    )
    match = "divi" if give else "params/half: .* no sharding"
    with pytest.raises(ValueError, match=match):
      opened(saved, keep_latest=3).restore(target)


class TestDamage:
  @pytest.mark.parametrize("kind", DAMAGE)
  def test_next_older_is_used(self, directory, opened, kind):
    DAMAGE[kind](directory / "3")
    checkpoints = opened(directory, keep_latest=3)
    check_step_2(checkpoints, [str(directory / "3")])
    assert (directory.parent / "damaged/3").is_dir()
    assert checkpoints.steps() == [1, 2]
    checkpoints.save(3, make_items(33), {})
    restored = checkpoints.restore(abstract(make_items()))
    assert restored[0] == 3
    assert_same_bits(restored[1], make_items(33))

  @pytest.mark.slow
  def test_flipped_byte_never_goes_unnoticed(self, saved, tmp_path):
    """Either found, or in a place whose content is not needed."""
    target, found, harmless = abstract(make_items(3)), set(), set()
    files = [f for f in (saved / "3").rglob("*") if f.is_file()]
    for n, file in enumerate(sorted(files)):
      for position in (0.0, 0.5, 1.0):
        copy = tmp_path / f"{n}-{position}" / "3"
        shutil.copytree(saved / "3", copy)
        name = file.relative_to(saved / "3")
        flip(copy / name, position)
        try:
          for item in ("params", "opt_state"):
            assert_same_bits(
              load_item(copy.parent, item, target[item])[1],
              make_items(3)[item],
            )
          harmless.add((str(name), position))
        except NoValidCheckpoint as error:
          assert str(copy) in str(error)
          found.add((str(name), position))
    for item in ("params", "opt_state"):
      name = str(data_file(saved / "3" / item).relative_to(saved / "3"))
      assert (name, 0.5) in found
    assert {("loop/metadata", p) for p in (0.0, 0.5, 1.0)} <= found
    assert len(found) > 20

  def test_changed_value_names_the_leaf(self, directory, opened, monkeypatch):
    restore = checkpoint_files._read_item

    def flip_one_bit(path, target):
      tree = restore(path, target)
      if path.name == "params" and path.parent.name == "3":
        bits = np.array(tree["half"]).view(np.uint16)
        bits[5, 2] ^= 1
        tree["half"] = jax.device_put(
          bits.view(jnp.bfloat16), tree["half"].sharding
        )
      return tree

    monkeypatch.setattr(checkpoint_files, "_read_item", flip_one_bit)
    checkpoints = opened(directory, keep_latest=3)
    check_step_2(checkpoints, [str(directory / "3")])
    assert "params/half was saved as bfloat16[8,5]" in checkpoints.damaged[0][1]

  def test_two_damaged_are_both_moved(self, directory, opened):
    (directory / "7").mkdir()
    DAMAGE["item deleted"](directory / "3")
    (directory.parent / "damaged/3").mkdir(parents=True)
    checkpoints = opened(directory, keep_latest=3)
    check_step_2(checkpoints, [str(directory / n) for n in ("7", "3")])
    moved = sorted(p.name for p in (directory.parent / "damaged").iterdir())
    assert moved == ["3", "3-1", "7"]
    assert "item 'params' is missing" in checkpoints.damaged[1][1]

  @pytest.mark.slow
  def test_all_damaged(self, directory, opened):
    for step in (1, 2, 3):
      DAMAGE["manifest cut"](directory / str(step))
    checkpoints = opened(directory, keep_latest=3)
    with pytest.raises(NoValidCheckpoint) as error:
      checkpoints.restore(abstract(make_items()))
    for step in (1, 2, 3):
      assert f"{directory / str(step)}: " in str(error.value)
    assert "Nothing was moved or deleted" in str(error.value)
    assert checkpoints.steps() == [1, 2, 3]
    assert not (directory.parent / "damaged").exists()

  @pytest.mark.slow
  def test_killed_while_saving(self, tmp_path, opened):
    script = (
      "import sys, jax\n"
      "from d2v_jax.training.checkpoints.checkpoint import Checkpoints\n"
      "checkpoints = Checkpoints(sys.argv[1])\n"
      "start = max(checkpoints.steps(), default=0)\n"
      "for step in range(start + 1, 10**6):\n"
      "  x = jax.random.normal(jax.random.key(step), (1024, 1024))\n"
      '  checkpoints.save(step, {"params": {"x": x}}, {"step": step})\n'
      "  print(step, flush=True)\n"
    )
    chance = random.Random(0)
    for _ in range(3):
      process = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / "a"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
      )
      for _ in range(3):
        assert process.stdout.readline()
      time.sleep(chance.random() * 0.1)
      process.send_signal(signal.SIGKILL)
      process.communicate()
      checkpoints = opened(tmp_path / "a")
      one = SingleDeviceSharding(jax.devices()[0])
      x = jax.ShapeDtypeStruct((1024, 1024), jnp.float32, sharding=one)
      step, items, loop = checkpoints.restore({"params": {"x": x}})
      assert loop == {"step": step}
      expected = jax.random.normal(jax.random.key(step), (1024, 1024))
      assert_same_bits(items, {"params": {"x": expected}})
      assert not checkpoints.damaged
      checkpoints.save(step + 1, items, {"step": step + 1})
      checkpoints.close()
      assert not any("tmp" in p.name for p in (tmp_path / "a").iterdir())
      shutil.rmtree(tmp_path / "a" / str(step + 1))


class TestMismatch:
  def change(self, target, how):
    params = target["params"]
    if how == "shape":
      params["blocks"]["kernel"] = jax.ShapeDtypeStruct(
        (64, 301), jnp.float32, sharding=params["scale"].sharding
      )
    elif how == "dtype":
      params["half"] = jax.ShapeDtypeStruct(
        (8, 5), jnp.float32, sharding=params["half"].sharding
      )
    elif how == "more":
      params["new"] = params["scale"]
    elif how == "less":
      del params["scale"]
    elif how == "stage":
      target["opt_state"] = (*target["opt_state"], optax.EmptyState())
    elif how == "item":
      target["teacher_params"] = {"scale": params["scale"]}
    return target

  @pytest.mark.parametrize(
    ("how", "text"),
    [
      (
        "shape",
        "params/blocks/kernel: float32[64,300] in the checkpoint, "
        "float32[64,301] expected",
      ),
      (
        "dtype",
        "params/half: bfloat16[8,5] in the checkpoint, float32[8,5] expected",
      ),
      ("more", "params/new: absent in the checkpoint, float32[] expected"),
      ("less", "params/scale: float32[] in the checkpoint, absent expected"),
      ("stage", "opt_state/2: absent in the checkpoint, empty expected"),
      ("item", "teacher_params: empty in the checkpoint, absent expected"),
    ],
  )
  def test_names_the_leaf(self, directory, opened, how, text):
    checkpoints = opened(directory, keep_latest=3)
    target = self.change(abstract(make_items()), how)
    with pytest.raises(CheckpointMismatch, match="does not fit") as error:
      checkpoints.restore(target)
    assert text in str(error.value)
    assert checkpoints.steps() == [1, 2, 3]
    assert not checkpoints.damaged

  def test_check_sees_the_loop_first(self, directory, opened):
    def check(loop):
      assert loop["config"] == LOOP["config"]
      raise CheckpointMismatch("lr differs")

    checkpoints = opened(directory, keep_latest=3)
    with pytest.raises(CheckpointMismatch, match="lr differs"):
      checkpoints.restore({"params": {}}, check=check)
    assert checkpoints.steps() == [1, 2, 3]


class TestLoad:
  def test_item_into_another_sharding(self, saved):
    two = jax.devices()[-2:]
    target = abstract(make_items()["params"], two)
    step, params = load_item(saved, "params", target)
    assert step == 3
    assert_same_bits(params, make_items(3)["params"])
    assert params["blocks"]["kernel"].sharding.device_set == set(two)

  def test_item_without_a_target(self, saved):
    step, params = load_item(saved, "params", step=1)
    assert step == 1
    assert_same_bits(params, make_items(1)["params"])
    assert load_item(saved, "teacher_params") == (3, {})
    _, opt_state = load_item(saved, "opt_state")
    assert_same_bits(
      jax.tree.leaves(opt_state), jax.tree.leaves(make_items(3)["opt_state"])
    )

  @pytest.mark.slow
  def test_damage_elsewhere_does_not_matter(self, directory):
    before = sorted(directory.rglob("*"))
    cut(data_file(directory / "3/opt_state"))
    assert load_item(directory, "params")[0] == 3
    assert load_item(directory, "opt_state")[0] == 2
    cut(directory / "3/loop/metadata")
    assert load_item(directory, "params")[0] == 2
    with pytest.raises(NoValidCheckpoint, match="3: JSONDecodeError"):
      load_item(directory, "params", step=3)
    assert sorted(directory.rglob("*")) == before

  def test_what_is_not_there(self, saved, tmp_path):
    with pytest.raises(
      CheckpointMismatch,
      match="no item 'head'; choose one of: opt_state, params, teacher_params",
    ):
      load_item(saved, "head")
    with pytest.raises(ValueError, match="no checkpoint in"):
      load_item(tmp_path, "params")
    with pytest.raises(ValueError, match=r"step 9 in .*there are: 1, 2, 3"):
      load_item(saved, "params", step=9)
    target = abstract(make_items()["params"])
    del target["half"]
    with pytest.raises(CheckpointMismatch, match=r"params/half: bfloat16\[8,5"):
      load_item(saved, "params", target)


def reference_fingerprint(x):
  """Row-major 32-bit words, one or two per element; sums modulo 2^32."""
  x = np.ascontiguousarray(x).reshape(-1)
  size = min(x.dtype.itemsize, 4)
  words = [int(w) for w in x.view(f"<u{size}")]
  weighted = sum(w * (2 * i + 1) for i, w in enumerate(words))
  return [sum(words) % 2**32, weighted % 2**32]


class TestFingerprint:
  @pytest.mark.parametrize(
    "dtype",
    ["float32", "bfloat16", "float16", "int32", "uint32", "int8", "bool"],
  )
  @pytest.mark.parametrize("shape", [(), (0, 3), (16,), (8, 3, 5)])
  def test_equals_numpy(self, dtype, shape):
    x = np.random.default_rng(0).normal(size=shape) * 100
    x = np.asarray(x).astype(jnp.dtype(dtype))
    expected = reference_fingerprint(x)
    for devices in (jax.devices(), jax.devices()[:1]):
      y = jax.device_put(x, sharding(shape, devices)) if x.size else x
      found = fingerprint.of([jnp.asarray(y)])
      assert found.tolist() == [expected]

  def test_equals_numpy_for_64_bits(self):
    with jax.enable_x64(True):
      x = np.random.default_rng(0).normal(size=(4, 3))
      found = fingerprint.of([jnp.asarray(x), jnp.arange(5) - 2])
    assert found[0].tolist() == reference_fingerprint(x)
    assert found[1].tolist() == reference_fingerprint(np.arange(5) - 2)

  def test_any_flipped_bit_and_any_swap_shows(self):
    x = np.random.default_rng(1).normal(size=(2, 3)).astype(np.float32)
    kept = fingerprint.of([jnp.asarray(x)]).tolist()
    variants = []
    for i in range(x.size):
      for bit in range(32):
        bits = x.copy().reshape(-1).view(np.uint32)
        bits[i] ^= np.uint32(1 << bit)
        variants.append(bits.view(np.float32).reshape(x.shape))
      swapped = x.copy().reshape(-1)
      swapped[[i, i - 1]] = swapped[[i - 1, i]]
      variants.append(swapped.reshape(x.shape))
    found = fingerprint.of(list(jnp.asarray(np.stack(variants))))
    assert kept[0] not in found.tolist()

  def test_special_values_keep_their_bits(self):
    x = np.array([0.0, -0.0, np.inf, np.nan, 1e-45], np.float32)
    found = fingerprint.of([jnp.asarray(x)])
    assert found.tolist() == [reference_fingerprint(x)]


TWO_PROCESSES = """
import pathlib, sys
import jax
jax.config.update('jax_num_cpu_devices', 2)
index, port, directory = int(sys.argv[1]), sys.argv[2], sys.argv[3]
jax.distributed.initialize('127.0.0.1:' + port, 2, index)
from jax.experimental import multihost_utils
from jax.sharding import PartitionSpec as P
from d2v_jax.training.checkpoints import checkpoint
from d2v_jax.training.checkpoints import checkpoint_files
from d2v_jax.training.checkpoints import stored_items
mesh = jax.make_mesh(
  (4,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
)
split = jax.sharding.NamedSharding(mesh, P('data'))
def make(step):
  f = lambda: jax.random.normal(jax.random.key(step), (8, 1024))
  return {'params': {'x': jax.jit(f, out_shardings=split)()}, 'teacher': {}}
checkpoints = checkpoint.Checkpoints(directory, keep_latest=3)
for step in (1, 2, 3):
  checkpoints.save(step, make(step), {'step': step})
checkpoints.wait()
# Process 1 alone cannot read step 3.
read = checkpoint_files._read_item
def fail(path, target):
  if index == 1 and path.parent.name == '3':
    raise OSError('stale handle')
  return read(path, target)
checkpoint_files._read_item = fail
target = jax.tree.map(
  lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
  make(0))
step, items, loop = checkpoints.restore(target)
assert (step, loop) == (2, {'step': 2})
for a, b in zip(items['params']['x'].addressable_shards,
                make(2)['params']['x'].addressable_shards):
  assert (a.data == b.data).all()
print(checkpoints.damaged[0][1])
checkpoints.save(3, make(33), {'step': 33})
checkpoints.wait()
checkpoint_files._read_item = read
assert stored_items.load_item(directory, 'params', target['params'])[0] == 3
checkpoints.close()
"""


@pytest.mark.slow
def test_two_processes_agree(tmp_path):
  with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = str(s.getsockname()[1])
  env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
  env.pop("XLA_FLAGS", None)
  processes = [
    subprocess.Popen(
      [sys.executable, "-c", TWO_PROCESSES, str(i), port, tmp_path / "a"],
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      env=env,
      text=True,
    )
    for i in range(2)
  ]
  outputs = [p.communicate(timeout=240)[0] for p in processes]
  assert [p.returncode for p in processes] == [0, 0], "\n".join(outputs)
  assert "process 1 failed: see its log" in outputs[0]
  assert "stale handle" in outputs[1]
  assert (tmp_path / "damaged/3").is_dir()
  # Another number of processes reads it with the same fingerprints.
  x = jax.ShapeDtypeStruct(
    (8, 1024), jnp.float32, sharding=sharding((8,), jax.devices())
  )
  step, params = load_item(tmp_path / "a", "params", {"x": x})
  expected = jax.random.normal(jax.random.key(33), (8, 1024))
  assert step == 3
  assert_same_bits(params, {"x": expected})


def test_files_are_plain_orbax_and_json(saved):
  content = json.loads(pathlib.Path(saved / "3/loop/metadata").read_text())
  assert set(content) == {"crc32", "content"}
  leaf = content["content"]["leaves"]["params/blocks/kernel"]
  expected = reference_fingerprint(make_items(3)["params"]["blocks"]["kernel"])
  assert leaf == "float32[64,300] " + "".join(f"{n:08x}" for n in expected)


class TestPart:
  """Reading an item without some of its sub-trees."""

  def target(self, *names, devices=None):
    params = abstract(make_items()["params"], devices)
    return {name: params[name] for name in names}

  def test_what_is_ignored_is_not_read(self, directory):
    two = jax.devices()[-2:]
    wanted = self.target("half", "scale", "none", devices=two)
    step, params = load_item(directory, "params", wanted, ignore=("blocks",))
    assert step == 3
    expected = make_items(3)["params"]
    del expected["blocks"]
    assert_same_bits(params, expected)
    assert params["half"].sharding.device_set == set(two)

  def test_what_is_ignored_may_be_absent(self, saved):
    wanted = self.target("blocks", "half", "scale", "none")
    ignore = ("head", "block", "scal")  # whole names only
    _, params = load_item(saved, "params", wanted, ignore=ignore)
    assert_same_bits(params, make_items(3)["params"])

  @pytest.mark.parametrize(
    ("names", "ignore", "message"),
    [
      (
        ("half", "none"),
        ("blocks",),
        r"params/scale: float32\[\] in the checkpoint, absent expected",
      ),
      (
        ("blocks", "half", "scale", "none"),
        ("blocks",),
        "params/blocks/kernel: absent in the checkpoint",
      ),
    ],
  )
  def test_the_rest_must_fit(self, saved, names, ignore, message):
    with pytest.raises(CheckpointMismatch, match=message):
      load_item(saved, "params", self.target(*names), ignore=ignore)

  def test_other_shapes(self, saved):
    wanted = self.target("half", "scale", "none")
    wanted["half"] = jax.ShapeDtypeStruct(
      (8, 6), jnp.bfloat16, sharding=sharding((8, 6), jax.devices())
    )
    with pytest.raises(CheckpointMismatch, match=r"bfloat16\[8,6\] expected"):
      load_item(saved, "params", wanted, ignore=("blocks",))

  def test_a_wrong_value_shows(self, directory):
    """What is read is compared with what was saved."""
    path = directory / "3/loop/metadata"
    sealed = json.loads(path.read_text())
    leaves = sealed["content"]["leaves"]
    for name in ("params/half", "params/blocks/kernel"):
      kind, _ = leaves[name].split(" ")
      leaves[name] = f"{kind} {0:016x}"
    path.write_text(json.dumps(checkpoint_files.seal(sealed["content"])))
    wanted = self.target("half", "scale", "none")
    with pytest.raises(NoValidCheckpoint, match="params/half was saved as"):
      load_item(directory, "params", wanted, step=3, ignore=("blocks",))
    assert load_item(directory, "params", wanted, ignore=("blocks",))[0] == 2
    wanted = self.target("scale", "none")
    ignore = ("blocks", "half")
    assert load_item(directory, "params", wanted, ignore=ignore)[0] == 3
