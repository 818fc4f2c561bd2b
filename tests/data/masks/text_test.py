import math

import numpy as np
import pytest
from scipy import stats

from d2v_jax.data.masks import text as text_masks
from d2v_jax.data.masks.text import RandomTokenMask, TokenMask
from tests.data.masks.examples import padded, text

DRAWS = 2000
# Each statistical test has a fixed seed, so it either always passes or never.
# The level only says how unlikely a correct draw would have been to fail.
LEVEL = 1e-3
SPANS = TokenMask(0.35, 4, random=0, keep=0)
TOKENS = np.arange(4, 68)
VOCAB = 100


def draw(mask, seed=0, tokens=TOKENS, size=None):
  """What is hidden, selected, and read by the student."""
  example = text(tokens, VOCAB, size)
  out = mask(np.random.default_rng(seed), example)
  hidden = out["mask"]
  read = np.where(hidden, VOCAB - 1, tokens)
  return hidden, out.get("selected", hidden), out.get("student_inputs", read)


def test_roles_have_exact_counts():
  # Of 512 tokens 76.8 are selected: 61.6 hidden, 7.7 replaced, 7.7 kept.
  assert TokenMask().counts(512) == (77, 62, 8)
  # No spans: 0.15 * 64 = 9.6.
  assert TokenMask().counts(64) == (10, 8, 1)
  assert TokenMask(random=0, keep=0.2).counts(64) == (10, 8, 0)
  assert TokenMask(random=0.2, keep=0).counts(64) == (10, 8, 2)
  assert SPANS.counts(512) == (157, 157, 0)  # 30.7 % of 512
  for mask in (TokenMask(), SPANS):
    assert mask.counts(2)[:2] == mask.counts(3)[:2] == (1, 1)
  for seed in range(20):
    hidden, selected, student = draw(TokenMask(), seed)
    assert (selected.sum(), hidden.sum()) == (10, 8)
    assert (selected | ~hidden).all()
    assert (student[hidden] == VOCAB - 1).all()
    others = selected & ~hidden
    assert (student[others] == TOKENS[others]).sum() in (1, 2)  # by chance
    np.testing.assert_array_equal(student[~selected], TOKENS[~selected])
    assert student.dtype == np.int32 and hidden.dtype == bool


def test_spans_hide_all_they_select():
  hidden, selected, student = draw(SPANS)
  np.testing.assert_array_equal(hidden, selected)
  np.testing.assert_array_equal(student, np.where(hidden, VOCAB - 1, TOKENS))
  edges = np.flatnonzero(np.diff(np.concatenate([[0], hidden, [0]])))
  assert (edges[1::2] - edges[::2]).max() >= 4


@pytest.mark.parametrize(
  ("settings", "names"),
  [
    ({}, {"selected", "student_inputs"}),
    ({"keep": 0}, {"selected", "student_inputs"}),
    ({"random": 0, "keep": 0}, set()),
    ({"random": 0}, set()),
    ({"random": 0, "teacher_sees": "selected"}, {"student_inputs", "inputs"}),
    (
      {"teacher_sees": "selected"},
      {"selected", "student_inputs", "inputs"},
    ),
  ],
)
def test_what_cannot_be_told_from_the_mask_is_given(settings, names):
  out = TokenMask(**settings)(np.random.default_rng(0), text(TOKENS, VOCAB))
  assert set(out) == {"mask"} | names
  assert all(x.shape == (64,) for x in out.values())


def test_a_teacher_that_sees_the_selected_tokens_only():
  example = text([*TOKENS, 1, 1], VOCAB, 64)
  settings = {"random": 0.2, "keep": 0.2}
  all_seen = TokenMask(**settings)(np.random.default_rng(0), example)
  out = TokenMask(**settings, teacher_sees="selected")(
    np.random.default_rng(0), example
  )
  for name, value in all_seen.items():
    np.testing.assert_array_equal(out[name], value)
  selected = out["selected"]
  assert out["inputs"].dtype == np.int32
  np.testing.assert_array_equal(
    out["inputs"][selected], example["inputs"][selected]
  )
  assert (out["inputs"][~selected] == 1).all()
  hides = out["mask"]
  assert (out["student_inputs"][hides] == VOCAB - 1).all()
  assert (selected & ~hides).any()


def test_padding_stays():
  padded = np.concatenate([TOKENS, [1, 1, 1]])
  hidden, selected, student = draw(TokenMask(), 0, padded, 64)
  for ours, alone in zip(
    (hidden, selected, student), draw(TokenMask()), strict=True
  ):
    np.testing.assert_array_equal(ours[:64], alone)
  assert not hidden[64:].any() and not selected[64:].any()
  assert (student[64:] == 1).all()
  np.testing.assert_array_equal(padded[:64], TOKENS)  # not written to


def test_positions_and_roles_are_uniform():
  mask, rng = TokenMask(), np.random.default_rng(0)
  draws = [mask(rng, text(TOKENS, VOCAB)) for _ in range(DRAWS)]
  for name, count in (("mask", 8), ("selected", 10)):
    hits = sum(draw[name] for draw in draws)
    share = count / 64
    z = (hits - DRAWS * share) / np.sqrt(DRAWS * share * (1 - share))
    # Both ends are like the rest, although they hold special tokens.
    assert np.abs(z).max() < stats.norm.isf(LEVEL / 2 / 2 / 64)


def test_random_tokens_are_uniform_and_never_special():
  mask, rng = TokenMask(0.5, random=0.6, keep=0), np.random.default_rng(0)
  zeros = np.zeros(64, int)
  counts = np.zeros(24, int)
  for _ in range(DRAWS // 4):
    out = mask(rng, text(zeros, 24))
    replaced = out["selected"] & ~out["mask"]
    counts += np.bincount(out["student_inputs"][replaced], minlength=24)
  assert (counts[:4] == 0).all()
  assert stats.chisquare(counts[4:]).pvalue > LEVEL  # <mask>, 23, is one


def test_names_in_a_config():
  names = text_masks.MASKS
  assert names == {
    "random_tokens": RandomTokenMask,
    "tokens": TokenMask,
  }


@pytest.mark.parametrize("mask", [TokenMask(), RandomTokenMask()])
def test_masks_depend_on_the_generator_alone(mask):
  example = text(TOKENS, VOCAB, 60)
  first, again, other = (
    mask(np.random.default_rng(seed), example) for seed in (3, 3, 4)
  )
  for name in first:
    np.testing.assert_array_equal(first[name], again[name])
    assert (first[name] != other[name]).any()


@pytest.mark.parametrize(("ratio", "visible"), [(0.48, 266), (0.5, 256)])
def test_random_tokens_have_an_exact_share(ratio, visible):
  mask = RandomTokenMask(8, ratio)
  rng = np.random.default_rng(0)
  assert mask.num_visible(512) == visible
  for size in (512, 511, 100, 3, 2, 1):
    out = mask(rng, padded(size, 512))
    assert set(out) == {"mask", "keep_ids"}
    drawn = out["mask"]
    assert drawn.shape == (8, 512) and drawn.dtype == bool
    shown = max(1, math.floor(size * (1 - ratio)))
    assert (drawn.sum(1) == size - shown).all()
    assert not drawn[:, size:].any()
    # All visible tokens are encoded, then the first of the padding.
    assert out["keep_ids"].shape == (8, visible)
    for row, kept in zip(drawn, out["keep_ids"].tolist(), strict=True):
      assert kept == np.flatnonzero(~row)[:visible].tolist()


def test_random_tokens_are_uniform():
  mask, rng = RandomTokenMask(1000, 0.5), np.random.default_rng(0)
  drawn = np.concatenate(
    [mask(rng, padded(12, 14))["mask"] for _ in range(DRAWS // 1000)]
  )
  z = (drawn[:, :12].sum(0) - DRAWS / 2) / np.sqrt(DRAWS / 4)
  assert np.abs(z).max() < stats.norm.isf(LEVEL / 2 / 12)
  both = (drawn[:, :11] & drawn[:, 1:12]).sum(0)
  p = 6 / 12 * 5 / 11
  z = (both - DRAWS * p) / np.sqrt(DRAWS * p * (1 - p))
  assert np.abs(z).max() < stats.norm.isf(LEVEL / 2 / 11)


def test_visible_tokens_fill_up_at_any_length():
  """There is enough padding to fill up, whatever the ratio."""
  for ratio in (0.05, 0.48, 0.5, 0.55, 0.8, 0.93):
    mask = RandomTokenMask(1, ratio)
    for total in range(2, 60):
      if int(total * (1 - ratio)) == 0:
        continue  # nothing visible
      for size in range(1, total + 1):
        out = mask(np.random.default_rng(0), padded(size, total))
        hidden, visible = out["mask"].sum(), out["keep_ids"].size
        assert 1 <= size - hidden <= visible <= total - hidden


def test_what_cannot_be_masked_is_known_before():
  TokenMask().check((50,), shortest=2)
  with pytest.raises(ValueError, match="so of 1 none can be hidden"):
    TokenMask().check((50,), shortest=1)
  with pytest.raises(ValueError, match="so of 1 none can be hidden"):
    TokenMask().check((1,), shortest=50)
  RandomTokenMask().check((50,), shortest=1)
  with pytest.raises(ValueError, match="no tokens that are not padding"):
    RandomTokenMask().check((50,), shortest=0)
  with pytest.raises(ValueError, match="0 of 1 tokens stay visible"):
    RandomTokenMask().check((1,))


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: TokenMask(prob=0), "TokenMask: prob must be above 0 and at most"),
    (
      lambda: TokenMask(length=0),
      "TokenMask: length must be 1 to 100000, got 0",
    ),
    (lambda: TokenMask(random=-0.1), ">= 0 and together below 1, got -0.1 and"),
    (lambda: TokenMask(keep=float("nan")), "together below 1, got 0.1 and nan"),
    (lambda: TokenMask(random=0.5, keep=0.5), "below 1, got 0.5 and 0.5"),
    (lambda: TokenMask().counts(1), "TokenMask: .* so of 1 none can be hidden"),
    (
      lambda: TokenMask(teacher_sees="all"),
      "unknown teacher_sees 'all'; choose one of: everything, selected",
    ),
    (
      lambda: RandomTokenMask(0),
      "RandomTokenMask: num_masks must be 1 to 1024, got 0",
    ),
    (lambda: RandomTokenMask(ratio=1), "ratio must be between 0 and 1"),
    (lambda: RandomTokenMask(ratio=0.9).num_visible(9), "0 of 9 tokens stay"),
    (
      lambda: RandomTokenMask()(np.random.default_rng(0), padded(0, 9)),
      "RandomTokenMask: an example has no tokens that are not padding; leave",
    ),
  ],
)
def test_errors(make, message):
  with pytest.raises(ValueError, match=message):
    make()
