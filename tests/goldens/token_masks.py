"""Token masks of texts against those of the reference code."""

from unittest import mock

import numpy as np
import pytest

from d2v_jax.data.layout import PAD
from d2v_jax.data.masks.text import TokenMask
from tests.data.masks import examples
from tests.goldens import statistics
from tests.goldens.pure import Group, Pure
from tests.reference import masking as reference

INPUTS = frozenset({"items_first8"})
# Tokens of the texts that the statistics are of, in the order of the draws.
_SIZES = (64, 128, 10)


def _check(case: Pure) -> None:
  """Exact masks of some texts, statistics of many, and ours next to them."""
  o, golden, vocab_size = case.options, case.golden, case.meta["vocab"]
  settings = (
    o["mask_prob"],
    o["mask_multiple_length"],
    o["random_token_prob"],
    o["leave_unmasked_prob"],
  )
  o.off("mask_whole_words", "freq_weighted_replacement", "mask_stdev")
  o.finish()
  sizes = {n.split("/")[0] for n in golden if n.startswith("len")}
  if sizes != {f"len{size}" for size in _SIZES}:
    pytest.skip(f"texts of {', '.join(sorted(sizes))} in an order unknown here")

  def theirs(index, tokens):
    rng = reference.row_rng(case.meta["seed"], 0, index)
    return reference.token_mask(rng, tokens, vocab_size, *settings)

  for i, tokens in enumerate(case.arrays["items_first8"]):
    selected, student = theirs(i, tokens)
    np.testing.assert_array_equal(student, golden["src_first8"][i])
    target = np.where(selected, tokens, 1)
    np.testing.assert_array_equal(target, golden["target_first8"][i])

  first = 0
  for size in _SIZES:
    draws = golden[f"len{size}/selected_count_hist"].sum()
    tokens = np.full(size, 5)  # which ones does not matter to the draws
    pairs = [theirs(first + i, tokens) for i in range(draws)]
    first += draws
    selected = np.array([s for s, _ in pairs])
    hidden = np.array([t for _, t in pairs]) == vocab_size - 1
    runs = np.concatenate([statistics.runs(s) for s in selected])
    for name, value in (
      ("pos_count", selected.sum(0)),
      ("selected_count_hist", statistics.histogram(selected.sum(1), size)),
      ("mask_token_count_hist", statistics.histogram(hidden.sum(1), size)),
      ("run_len_hist", statistics.histogram(runs, size)),
    ):
      np.testing.assert_array_equal(
        value, golden[f"len{size}/{name}"], err_msg=name
      )
    example = examples.text(tokens, vocab_size)
    # Then the teacher's input says which tokens are selected.
    token_mask = TokenMask(*settings, teacher_sees="selected")
    _check_ours(token_mask, example, selected, hidden)


def _check_ours(token_mask, example, selected, hidden):
  size, rng = len(example["inputs"]), np.random.default_rng(1)

  def draw():
    out = token_mask(rng, example)
    return out["inputs"] != PAD, out["mask"]

  num_selected, num_hidden, _ = token_mask.counts(size)
  drawn = [draw() for _ in range(100)]
  assert {int(s.sum()) for s, _ in drawn} == {num_selected}
  assert {int(h.sum()) for _, h in drawn} == {num_hidden}
  # Rounded means, where theirs vary; hidden is rounded twice. At least one
  # token is hidden and one visible.
  for ours, theirs, rounding in (
    (num_selected, selected, 0.5),
    (num_hidden, hidden, 1.0),
  ):
    inside = np.clip(theirs.sum(1), 1, size - 1)
    statistics.check_count(ours, inside, rounding)

  ours = []
  for counts in zip(selected.sum(1), hidden.sum(1), strict=True):
    with mock.patch.object(TokenMask, "counts", return_value=(*counts, 0)):
      ours.append(draw()[0])
  statistics.check_positions(np.array(ours), selected.sum(0))


GROUPS = {"*": Group(_check, "{group}", single=True)}
