import numpy as np
import pytest
from scipy import stats

from d2v_jax.data.masks import text as text_masks
from d2v_jax.data.masks.text import TokenMask

DRAWS = 2000
LEVEL = 1e-3  # as in span_masking_test
SPANS = TokenMask(0.35, 4, random=0, keep=0)
TOKENS = np.arange(4, 68)
VOCAB = 100


def draw(mask, seed=0, tokens=TOKENS, num_tokens=None, vocab_size=VOCAB):
  rng = np.random.default_rng(seed)
  return mask(rng, num_tokens or len(tokens), vocab_size, tokens)


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


def test_only_random_tokens_change_the_input():
  assert TokenMask().changes_tokens
  assert not SPANS.changes_tokens
  assert not TokenMask(random=0, keep=0.1).changes_tokens


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
  draws = [mask(rng, 64, VOCAB, TOKENS)[:2] for _ in range(DRAWS)]
  for hits, count in zip(np.sum(draws, 0), (8, 10), strict=True):
    share = count / 64
    z = (hits - DRAWS * share) / np.sqrt(DRAWS * share * (1 - share))
    # Both ends are like the rest, although they hold special tokens.
    assert np.abs(z).max() < stats.norm.isf(LEVEL / 2 / 2 / 64)


def test_random_tokens_are_uniform_and_never_special():
  mask, rng = TokenMask(0.5, random=0.6, keep=0), np.random.default_rng(0)
  zeros = np.zeros(64, int)
  counts = np.zeros(24, int)
  for _ in range(DRAWS // 4):
    hidden, selected, student = mask(rng, 64, 24, zeros)
    counts += np.bincount(student[selected & ~hidden], minlength=24)
  assert (counts[:4] == 0).all()
  assert stats.chisquare(counts[4:]).pvalue > LEVEL  # <mask>, 23, is one


def test_masks_depend_on_the_generator_alone():
  mask = text_masks.MASKS["token"]()
  for one, same, other in zip(
    draw(mask, 3), draw(mask, 3), draw(mask, 4), strict=True
  ):
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: TokenMask(prob=0), "TokenMask: prob must be above 0 and at most"),
    (lambda: TokenMask(length=0), "TokenMask: length must be >= 1, got 0"),
    (lambda: TokenMask(random=-0.1), ">= 0 and together below 1, got -0.1 and"),
    (lambda: TokenMask(random=0.5, keep=0.5), "below 1, got 0.5 and 0.5"),
    (lambda: TokenMask().counts(1), "TokenMask: .* so of 1 none can be hidden"),
    (lambda: draw(TokenMask(), num_tokens=65), "num_tokens=65 .* the 64 given"),
    (lambda: draw(TokenMask(), vocab_size=4), "vocab_size must be at least 5"),
  ],
)
def test_errors(make, message):
  with pytest.raises(ValueError, match=message):
    make()
