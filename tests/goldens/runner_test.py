"""What is made of the reference's cases: nothing is passed over in silence."""

import copy
import json
import math

import numpy as np
import pytest

from tests import test_goldens
from tests.goldens import (
  files,
  network,
  positions,
  pure,
  schedules,
  shrink,
  span_masks,
  token_masks,
)
from tests.goldens.options import Options

HERE = sorted(files.HERE.glob("*.npz"))
NETWORKS = [file for file in HERE if not file.stem.startswith("pure_")]
SKIPPED = pytest.skip.Exception


def skips(match):
  return pytest.raises(SKIPPED, match=match)


def test_every_kind_is_in_the_repository():
  metas = [files.load(path)[0] for path in HERE]
  kinds = {meta["kind"] for meta in metas if "kind" in meta}
  assert kinds - {"pure"} == set(network.KINDS)
  v2 = [meta for meta in metas if meta.get("kind") == "v2"]
  modalities = {m for meta in v2 for m in meta["resolved_config"]["modalities"]}
  assert modalities == {"image", "audio", "text"}
  functions = {m["case"] for m in metas if m["case"].startswith("pure_")}
  assert functions == set(test_goldens.FUNCTIONS)
  size = sum(f.stat().st_size for f in files.HERE.iterdir() if f.is_file())
  assert size < 3e6


def test_folders_of_further_cases(tmp_path, monkeypatch):
  for folder, name in (("a", "x"), ("a", "recipe_b"), ("b", "x")):
    (tmp_path / folder).mkdir(exist_ok=True)
    np.savez(tmp_path / folder / f"{name}.npz", meta="{}")
  (tmp_path / "b" / NETWORKS[0].name).write_bytes(b"")
  monkeypatch.setenv("D2V_GOLDENS", f"{tmp_path / 'a'}:{tmp_path / 'b'}")
  found = {path.name: path.parent for path in files.find()}
  assert set(found) == {f.name for f in HERE} | {"x.npz", "recipe_b.npz"}
  assert found["x.npz"] == tmp_path / "a"
  assert found[NETWORKS[0].name] == tmp_path / "b"
  monkeypatch.delenv("D2V_GOLDENS")
  assert files.find() == HERE


def test_options():
  values = {"rate": 1, "kind": "b", "part": {"x": 0.5, "y": None}, "seed": 3}
  inert = {"nothing is drawn": ("seed",)}

  def options():
    return Options(values, inert, "model.")

  with skips(r"reads: model\.rate=1, model\.kind='b', model\.part="):
    options().finish()
  with skips(r"option model\.kind='b': not built here"):
    options().only("kind", "a", "c")
  with skips(r"option model\.rate=1: not built here"):
    options().off("absent", "rate")
  read = options()
  assert read["rate"] == 1 and read.get("absent", 7) == 7
  assert read.only("kind", "a", "b") == "b"
  assert read.only("absent", "default", "other") == "default"
  part = read.section("part")
  part.off("y")
  with skips(r"reads: model\.part\.x=0\.5$"):
    read.finish()
  part.ignore("only x would use it", "x")
  read.finish()


def sections(config):
  """The dicts of options in a network's config, by path."""
  yield "", config
  for name, value in config.items():
    if name == "decoder" and "output_dim" in (value or {}):
      continue  # of text, where it is inert as a whole
    if isinstance(value, dict) and name != "modalities":
      for path, section in sections(value):
        yield f"{name}.{path}", section
    elif name == "modalities":
      for modality, part in value.items():
        for path, section in sections(part):
          yield f"modalities.{modality}.{path}", section


@pytest.mark.parametrize("path", NETWORKS, ids=lambda p: p.stem)
def test_an_unknown_option_of_a_network_is_named(path):
  meta, arrays = files.load(path)
  network.read(meta, arrays, "float32")
  for where, _ in sections(meta["resolved_config"]):
    changed = copy.deepcopy(dict(meta))
    dict(sections(changed["resolved_config"]))[where]["made_up"] = "a value"
    with skips(rf"{where}made_up='a value'".replace(".", r"\.")):
      network.read(changed, arrays, "float32")


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"kind": "v3"}, "kind v3: no adapter"),
    ({"quirks": ["it is blue"]}, "quirks of the reference: it is blue"),
    ({"config": {"depht": 3}}, "reads: depht=3"),
    (
      {"requires_grad_false": ["encoder.regression_head.0.bias"]},
      r"frozen there: \['encoder\.regression_head\.0\.bias'\]",
    ),
  ],
)
def test_what_else_skips_a_network(changes, message):
  meta, arrays = files.load(files.HERE / "text_v1_b.npz")
  with skips(message):
    network.read(meta | changes, arrays, "float32")


def test_unknown_inputs_and_optimizers_skip_a_network():
  meta, arrays = files.load(files.HERE / "text_v1_b.npz")
  with skips(r"inputs that nothing here takes: \['input/made_up'\]"):
    network.read(meta, arrays | {"step0/input/made_up": 0}, "float32")
  for option, value in (("weight_decay", 0.1), ("name", "SGD"), ("new", 1)):
    changed = meta | {"optimizer": meta["optimizer"] | {option: value}}
    with skips(f"optimizer.{option}="):
      network._optimizer(changed)


def test_a_wrong_number_of_a_network_fails():
  meta, arrays = files.load(files.HERE / "text_v1_b.npz")
  wrong = arrays["features/x"].copy()
  wrong[1, 2, 3] += 0.01
  with pytest.raises(AssertionError, match="Mismatched elements: 1 "):
    network.check_features(meta, arrays | {"features/x": wrong})


def test_fingerprints_stand_for_parameters():
  rng = np.random.default_rng(0)
  tree = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=5)}
  full = {f"grad/{name}": value for name, value in tree.items()}
  short = {f"param/{name}": value for name, value in tree.items()}
  short["grad_fingerprint"] = files.fingerprint(tree)
  # As in the reference: sum, norm, and the dot product with sin(1..n).
  b = tree["b"]
  by_hand = [
    b.sum(),
    math.sqrt((b**2).sum()),
    sum(math.sin(i + 1) * v for i, v in enumerate(b)),
  ]
  np.testing.assert_allclose(short["grad_fingerprint"][1], by_hand)
  order = np.arange(12)
  order[[2, 7]] = 7, 2
  swapped = tree | {"a": tree["a"].ravel()[order].reshape(3, 4)}
  shifted = tree | {"b": tree["b"] + [0, 1e-3, 0, 0, 0]}
  for arrays in (full, short):
    network._check_tree(arrays, "grad", tree, 1e-5, set())
    for wrong, name in ((swapped, "a"), (shifted, "b")):
      with pytest.raises(AssertionError, match=f"grad {name}"):
        network._check_tree(arrays, "grad", wrong, 1e-5, set())
  network._check_tree(full, "grad", shifted, 1e-5, {"b"})


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


def settings():
  """Every setting of a function that has options."""
  for path in HERE:
    if path not in NETWORKS:
      _, arrays = files.load(path)
      groups = test_goldens._functions(path)
      for name, member in pure.members(arrays, groups, test_goldens.INPUTS):
        where = groups.get(name, groups.get("*")).options
        if where is not None:
          where = where.format(group=name, member=member)
          label = f"{path.stem}-{name}-{member}"
          yield pytest.param(path, name, member, where, id=label)


@pytest.mark.parametrize(("path", "name", "member", "where"), list(settings()))
def test_an_unknown_option_of_a_function_is_named(path, name, member, where):
  meta, arrays = files.load(path)
  options = meta["configs"][where] | {"made_up": [1, 2]}
  meta = meta | {"configs": {where: options}}
  groups = test_goldens._functions(path)
  with skips(r"reads: .*made_up=\[1, 2\]"):
    pure.check(meta, arrays, groups, name, member)


@pytest.mark.parametrize(
  ("file", "name", "member", "array"),
  [
    ("pure_schedules", "cosine", "2", "cosine/2/lr"),
    ("pure_schedules", "ema", "2", "ema/2/decay"),
    ("pure_losses_targets", "targets", "4", "targets/4/top2"),
    ("pure_positions", "alibi2d", "heads4_manhattan", ""),
    ("pure_optim", "clip", "1", "clip/1/p0"),
    ("pure_optim", "torch_adamw", "1", "torch_adamw/1/p1"),
    ("pure_mask_indices", "head", "tiny", "head/tiny/pos_count"),
    ("pure_text_masking", "bert", "", "bert/src_first8"),
    ("pure_block_masks", "beit", "tiny4", "beit/tiny4/exact"),
  ],
)
def test_a_wrong_number_of_a_function_fails(file, name, member, array):
  path = files.HERE / f"{file}.npz"
  meta, arrays = files.load(path)
  array = array or f"{name}/{member}"
  wrong = arrays[array].copy()
  place = tuple(n // 2 for n in wrong.shape)
  wrong[place] = wrong[place] * 1.01 + 1e-3 if wrong.dtype.kind == "f" else 3
  groups = test_goldens._functions(path)
  with pytest.raises(AssertionError):
    pure.check(meta, arrays | {array: wrong}, groups, name, member)


def check(groups, name, options, arrays, **meta):
  """One made-up setting, whose member is 'm'."""
  where = groups.get(name, groups.get("*")).options.format(
    group=name, member="m"
  )
  meta = {"case": "pure_made_up", "configs": {where: options}} | meta
  arrays = {f"{name}/m/{array}": value for array, value in arrays.items()}
  pure.check(meta, arrays, groups, name, "m")


def fairseq_polynomial(n, *, lr, warmup, total, end, power):
  if n <= warmup and warmup:
    return n / warmup * lr
  if n >= total:
    return end
  left = 1 - (n - warmup) / (total - warmup)
  return (lr - end) * left**power + end


@pytest.mark.parametrize("warmup", [0, 7])
def test_polynomials_of_the_reference(warmup):
  steps = np.arange(130)
  options = {
    "lr": 0.3,
    "max_update": 120,
    "total_num_update": 90,
    "warmup_updates": warmup,
    "end_learning_rate": 0.01,
    "power": 2.5,
    "force_anneal": None,
  }
  rates = [
    fairseq_polynomial(n, lr=0.3, warmup=warmup, total=90, end=0.01, power=2.5)
    for n in steps.tolist()
  ]
  arrays = {"steps": steps, "lr": np.array(rates)}
  check(schedules.GROUPS, "polynomial", options, arrays)
  with pytest.raises(AssertionError, match="Mismatched"):
    check(schedules.GROUPS, "polynomial", options | {"power": 2.4}, arrays)
  with skips("force_anneal=3: not built here"):
    check(schedules.GROUPS, "polynomial", options | {"force_anneal": 3}, arrays)


def fairseq_cosine(n, *, lr, warmup, period, start, final, shrink):
  if n < warmup:
    return start + n * (lr - start) / warmup
  i, t = divmod(n - warmup, period)
  low, high = final * shrink**i, lr * shrink**i
  return low + 0.5 * (high - low) * (1 + math.cos(math.pi * t / period))


def test_cosines_of_the_reference():
  def rates(steps, **options):
    arguments = {"lr": 0.3, "warmup": 5, "shrink": 0.1} | options
    return np.array([fairseq_cosine(n, **arguments) for n in steps.tolist()])

  steps = np.arange(60)
  options = {"lr": 0.3, "max_update": 60, "warmup_updates": 5, "min_lr": 0.02}
  # Without a rate to start from, the last one is it.
  longer = options | {"lr_period_updates": 80, "t_mult": 2, "lr_shrink": 0.1}
  lr = rates(steps, period=80, start=0.02, final=0.02)
  check(schedules.GROUPS, "cosine", longer, {"steps": steps, "lr": lr})
  own = options | {"warmup_init_lr": 0.1}
  lr = rates(steps, period=55, start=0.1, final=0.02)
  check(schedules.GROUPS, "cosine", own, {"steps": steps, "lr": lr})
  again = options | {"lr_period_updates": 20}
  lr = rates(steps, period=20, start=0.02, final=0.02)
  with skips("lr_period_updates=20: repeated periods"):
    check(schedules.GROUPS, "cosine", again, {"steps": steps, "lr": lr})


SPANS = {"B": 2, "T": 60, "mask_prob": 0.2, "mask_length": 5, "min_masks": 4}


def span_arrays(options, batches=300):
  setting = span_masks._read(Options(options))
  masks = np.array([setting.masks(1234, e, 0) for e in range(batches)])
  total = options["T"]
  runs = [span_masks.statistics.runs(row) for row in masks.reshape(-1, total)]
  histogram = span_masks.statistics.histogram
  return {
    "pos_count": masks.sum(0),
    "count_hist": np.array([histogram(c, total) for c in masks.sum(2).T]),
    "run_len_hist": histogram(np.concatenate(runs), total),
    "n_runs_hist": histogram([len(r) for r in runs], total),
    "n_batches": np.array(batches),
    "n_fail": np.array(0),
  }


@pytest.mark.parametrize(
  "changes",
  [
    {},
    {"require_same_masks": False},
    {"T": 19, "mask_length": 3, "min_masks": 5},
    {"lengths": [60, 33], "min_masks": 2},
    {"mask_type": "static", "mask_other": 3.0, "mask_dropout": 0.0},
  ],
)
def test_spans_that_are_built(changes):
  options = SPANS | changes
  check(span_masks.GROUPS, "head", options, span_arrays(options))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"mask_dropout": 0.1}, r"mask_dropout=0\.1"),
    ({"add_masks": True}, "add_masks=True"),
    ({"mask_type": "normal", "mask_other": 2}, "mask_type='normal'"),
    ({"no_overlap": True}, "no_overlap=True"),
    ({"num_mask_ver": 1}, "num_mask_ver=1"),
  ],
)
@pytest.mark.parametrize("name", ["exact", "head"])
def test_spans_that_are_not_built(name, changes, message):
  with skips(f"option {name}/m: {message}"):
    check(span_masks.GROUPS, name, SPANS | changes, {})


def test_more_spans_than_the_frames_have_starts():
  options = SPANS | {"T": 12, "mask_length": 10, "min_masks": 2}
  setting = span_masks._read(Options(options))
  rows = np.ones((3, 12), bool)
  with skips("min_masks=2, mask_length=10: with 12 frames"):
    span_masks._check_ours(setting, 12, rows)


def test_functions_and_settings_that_are_not_there():
  with skips("pure_made_up: sqrt: no such function here"):
    pure.check({"case": "pure_made_up"}, {}, schedules.GROUPS, "sqrt", "")
  arrays = {"alibi2d/heads4_euclidean": np.zeros((4, 9, 9))}
  with skips("alibi_distance='euclidean'"):
    pure.check({}, arrays, positions.GROUPS, "alibi2d", "heads4_euclidean")
  with skips("sincos2d/dim8_grid2x3: no such setting"):
    pure.check({}, {}, positions.GROUPS, "sincos2d", "dim8_grid2x3")
  options = dict.fromkeys(
    ("mask_prob", "mask_multiple_length", "random_token_prob"), 0
  )
  options |= {"leave_unmasked_prob": 0, "mask_whole_words": True}
  meta = {"configs": {"words": options}, "vocab": 9}
  with skips("mask_whole_words=True"):
    pure.check(meta, {}, token_masks.GROUPS, "words", "")
