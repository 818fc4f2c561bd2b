import numpy as np
import pytest

from tests import test_goldens
from tests.goldens import files, positions, pure, schedules, token_masks
from tests.goldens.made_up import skips

HERE = sorted(files.HERE.glob("pure_*.npz"))


def settings():
  """Every setting of a function that has options."""
  for path in HERE:
    groups, arrays = test_goldens._functions(path), files.load(path)[1]
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
  # Numbers that it changes are not compared first.
  arrays = {
    array: value + 1 if value.dtype.kind == "f" else value
    for array, value in arrays.items()
  }
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
