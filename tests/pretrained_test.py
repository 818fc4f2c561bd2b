import json
import types

import jax
import numpy as np
import pytest

from d2v_jax import config_file, pretrained
from d2v_jax.data.layout import PAD
from d2v_jax.evaluators.features import Features, pool_features
from d2v_jax.training.build import from_config
from d2v_jax.training.checkpoints import stored_items
from d2v_jax.training.checkpoints.checkpoint import Checkpoints
from d2v_jax.training.compiled_run import CompiledRun
from tests import random_runs, runs


def tiny(**overrides):
  config = config_file.load(str(runs.ROOT / runs.TINY))
  for path, value in {"num_devices": 1, **overrides}.items():
    config_file.override(config, path.replace("__", "."), str(value))
  return config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A workdir whose teacher differs from its student, and both."""
  workdir = tmp_path_factory.mktemp("run")
  experiment = from_config(tiny())
  state = CompiledRun(experiment).init_state()
  teacher = jax.tree.map(lambda x: 1.5 * x + 0.01, state.params)
  teacher = {k: v for k, v in teacher.items() if k in state.teacher_params}
  checkpoints = Checkpoints(workdir / "checkpoints")
  items = {
    "params": state.params,
    "teacher_params": teacher,
    "opt_state": state.opt_state,
  }
  checkpoints.save(3, items, {})
  checkpoints.close()
  (workdir / "run.json").write_text(
    json.dumps({"config": experiment.config, "starts": []})
  )
  return types.SimpleNamespace(
    workdir=workdir,
    encoder=experiment.objective.encoder,
    student=state.params,
    teacher={**state.params, **teacher},
  )


def images(n):
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (n, 8, 8, 1)).astype(np.uint8)


@pytest.mark.parametrize("model", ["student", "teacher"])
def test_tokens_are_those_of_the_network(run, model):
  loaded = pretrained.load(run.workdir, model, num_devices=1)
  x = images(5)
  output = run.encoder(getattr(run, model), {"inputs": x})
  layers = [*output.block, output.tokens]
  for choice, values in (
    (None, output.tokens),
    ((0,), layers[0]),
    ((0, -1), (layers[0] + layers[1]) / 2),
    ("all", np.stack(layers, axis=2)),
  ):
    tokens = loaded.encode(x, layers=choice, batch_size=2)
    assert tokens.dtype == np.float32
    np.testing.assert_allclose(tokens, values, rtol=0, atol=1e-5)
  # What the two say of an example is the same.
  np.testing.assert_allclose(
    loaded.encode(x).mean(1), loaded.features(x), rtol=0, atol=1e-5
  )


@pytest.mark.parametrize("model", ["student", "teacher"])
def test_features_are_those_of_the_network(run, model):
  loaded = pretrained.load(run.workdir, model, num_devices=1)
  assert (loaded.step, loaded.modality) == (3, "vision")
  assert "head" not in loaded.params
  x = images(5)
  for choice in (Features(), Features(layers="all"), Features(layers=(-1,))):
    output = run.encoder(getattr(run, model), {"inputs": x})
    np.testing.assert_allclose(
      loaded.features(x, layers=choice.layers, batch_size=2),
      pool_features(output, choice),
      rtol=0,
      atol=1e-5,
    )


def test_poolings_of_images(run):
  loaded = pretrained.load(run.workdir, num_devices=1)
  x = images(5)
  tokens = loaded.encode(x)  # [5, 16, D]
  for pool, expected in (
    ("mean_std", np.stack([tokens.mean(1), tokens.std(1)], 1)),
    ("cells:2", tokens.reshape(5, 2, 2, 2, 2, -1).mean((2, 4))),
    ("tokens", tokens),
  ):
    np.testing.assert_allclose(
      loaded.features(x, pool=pool), expected.reshape(5, -1), rtol=0, atol=1e-5
    )
  with pytest.raises(ValueError, match="pool 'segments:8' is for tokens in"):
    loaded.features(x, pool="segments:8")


class TestPadding:
  def test_utterances(self, tmp_path):
    workdir = random_runs.save(tmp_path, "speech", isolate_padding=True)
    loaded = pretrained.load(workdir, num_devices=1)
    lengths = (3000, 2400)
    x = np.zeros((2, 3000), np.float32)
    frames = [loaded.encoder.inputs.num_tokens(n) for n in lengths]
    alone = []
    for i, length in enumerate(lengths):
      x[i, :length] = np.random.default_rng(i).normal(size=length)
      alone.append(loaded.encode(x[i : i + 1, :length])[0])
    assert [len(tokens) for tokens in alone] == frames
    padding = np.arange(frames[0]) >= np.array(frames)[:, None]
    self.check(loaded, {"inputs": x, "padding": padding}, alone)

  def test_texts(self, tmp_path):
    loaded = pretrained.load(random_runs.save(tmp_path, "text"), num_devices=1)
    x = np.full((2, 9), PAD, np.int32)
    x[0], x[1, :5] = [0, *range(10, 17), 2], [0, 20, 30, 40, 2]
    alone = [loaded.encode(x[:1])[0], loaded.encode(x[1:, :5])[0]]
    self.check(loaded, x, alone)

  def check(self, loaded, inputs, alone):
    tokens = loaded.encode(inputs)
    for row, single in zip(tokens, alone, strict=True):
      np.testing.assert_allclose(
        row[: len(single)], single, rtol=0, atol=1e-5 * np.abs(single).max()
      )
      assert (row[len(single) :] == 0).all()
    halves = [
      np.concatenate([x[: -(-len(x) // 2)].mean(0), x[len(x) // 2 :].mean(0)])
      for x in alone
    ]
    got = loaded.features(inputs, pool="segments:2")
    np.testing.assert_allclose(
      got, halves, rtol=0, atol=1e-5 * np.abs(got).max()
    )
    assert len(alone[1]) < len(tokens[1])


@pytest.mark.parametrize(
  ("modality", "shown"),
  [
    ("vision", "vision, width 16 x depth 2, {:,} parameters)"),
    ("speech", "speech, width 16 x depth 2, {:,} parameters)"),
    ("text", "text, width 16 x depth 2, {:,} parameters)"),
  ],
)
def test_it_is_printed_as_one_line(modality, shown, tmp_path):
  random_runs.save(tmp_path, modality)
  loaded = pretrained.load(tmp_path, "student")
  count = sum(np.size(x) for x in jax.tree.leaves(loaded.params))
  assert repr(loaded) == (
    f"Pretrained({tmp_path}, step 3, student: {shown.format(count)}"
  )


def test_on_whatever_devices_are_there(run):
  one = pretrained.load(run.workdir, num_devices=1)
  for rule in ("replicated", "fsdp"):
    all_of_them = pretrained.load(run.workdir, rule=rule)
    assert all_of_them.mesh.size == jax.device_count() > 1
    np.testing.assert_allclose(
      all_of_them.features(images(11), batch_size=4),
      one.features(images(11)),
      rtol=0,
      atol=1e-5,
    )


def test_only_what_is_needed_is_read(run, monkeypatch):
  read = []
  load_item = stored_items.load_item

  def noted(directory, item, abstract, **kwargs):
    read.extend(f"{item}/{name}" for name in abstract)
    return load_item(directory, item, abstract, **kwargs)

  monkeypatch.setattr(stored_items, "load_item", noted)
  pretrained.load(run.workdir, "student")
  assert {name.split("/")[0] for name in read} == {"params"}
  assert "params/head" not in read
  read.clear()
  pretrained.load(run.workdir, "teacher")
  averaged = {x for x in run.teacher if x != "head"}
  assert {name.split("/")[1] for name in read} == averaged
  assert len(read) == len(set(read)) == len(averaged)


def test_another_input_size(run):
  loaded = pretrained.load(run.workdir, encoder={"image_size": 16})
  x = np.zeros((2, 16, 16, 1), np.uint8)
  assert loaded.features(x).shape == (2, loaded.features(x).shape[1])


def test_errors(run, tmp_path):
  with pytest.raises(
    ValueError, match=r"no run.json, so it is not the workdir"
  ):
    pretrained.load(tmp_path)
  with pytest.raises(
    ValueError, match="unknown model 'ema'; choose one of: te"
  ):
    pretrained.load(run.workdir, "ema")
  with pytest.raises(ValueError, match=r"no checkpoint of step 4 in .*are: 3"):
    pretrained.load(run.workdir, step=4)
  with pytest.raises(ValueError, match=r"encoder.widht: unknown field"):
    pretrained.load(run.workdir, encoder={"widht": 3})
  with pytest.raises(ValueError, match="inputs have no examples"):
    pretrained.load(run.workdir).features(images(0))


def test_no_teacher(run, tmp_path):
  checkpoints = Checkpoints(tmp_path / "checkpoints")
  items = {"params": run.student, "teacher_params": {}}
  checkpoints.save(0, items, {})
  checkpoints.close()
  record = (run.workdir / "run.json").read_text()
  (tmp_path / "run.json").write_text(record)
  with pytest.raises(ValueError, match=r"has no teacher .*choose the student"):
    pretrained.load(tmp_path, "teacher")
  assert pretrained.load(tmp_path).model == "student"
  assert pretrained.load(run.workdir).model == "teacher"


class TestStartingFromARun:
  def state(self, run, **overrides):
    config = tiny(init_from=run.workdir, seed=1, **overrides)
    return CompiledRun(from_config(config)).init_state()

  def test_student_and_teacher_are_taken(self, run):
    state = self.state(run)
    assert_same(state.params, run.student)
    assert_same(
      state.teacher_params, {k: run.teacher[k] for k in state.teacher_params}
    )

  def test_the_student_may_start_from_the_teacher(self, run):
    assert_same(self.state(run, init_model="teacher").params, run.teacher)

  def test_another_objective_s_parts_stay_behind(self, run, tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    decoder = {"decoder": {"conv0": run.student["mask_token"]}}
    checkpoints.save(0, {"params": {**run.student, **decoder}}, {})
    checkpoints.close()
    record = json.loads((run.workdir / "run.json").read_text())
    record["config"]["objective"] = {"name": "pixels"}
    (tmp_path / "run.json").write_text(json.dumps(record))
    state = self.state(types.SimpleNamespace(workdir=tmp_path))
    assert "decoder" not in state.params
    kept = run.student.keys() - {"head"}
    for name in kept:
      assert_same(state.params[name], run.student[name])
    weights = state.params["head"]["fc1"]["kernel"]
    assert (weights != run.student["head"]["fc1"]["kernel"]).any()
    loaded = pretrained.load(tmp_path, "student", num_devices=1)
    assert loaded.params.keys() == kept

  def test_without_a_teacher_it_is_a_copy_of_the_student(self, run, tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    params = {k: v for k, v in run.student.items() if k != "head"}
    checkpoints.save(0, {"params": params, "teacher_params": {}}, {})
    checkpoints.close()
    record = json.loads((run.workdir / "run.json").read_text())
    record["config"]["objective"] = {}  # an encoder alone, as imports may be
    (tmp_path / "run.json").write_text(json.dumps(record))
    imported = types.SimpleNamespace(workdir=tmp_path)
    state = self.state(imported)
    assert_same({k: state.params[k] for k in params}, params)
    assert_same(
      state.teacher_params, {k: state.params[k] for k in state.teacher_params}
    )
    with pytest.raises(ValueError, match="has no teacher"):
      self.state(imported, init_model="teacher")


def assert_same(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(x, y)
