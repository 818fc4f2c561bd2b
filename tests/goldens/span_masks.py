"""Span and token masks against those of the reference code.

The reference's rules as written down in tests/reference reproduce its masks and
its statistics exactly, so where ours depart from the reference's batches they
can be compared with its rows.
"""

import numpy as np
import pytest
from scipy import stats

from d2v_jax.data.masks.speech import SpanMask
from d2v_jax.data.masks.text import TokenMask
from tests.data.masks import examples
from tests.reference import masking as reference

# Each statistical test has a fixed seed, so it either always passes or never.
# The level only says how unlikely a correct draw would have been to fail.
LEVEL = 1e-3
_LENGTHS = ("len64", "len128", "len10")  # of the texts, in their order


def check_exact(meta: dict, arrays: dict, mine: dict) -> None:
  """The reference's masks of some batches, bit for bit."""
  for name, config in meta["configs"].items():
    epochs = range(len(mine[name]))
    masks = [_span_masks(config, 7, epoch, 100) for epoch in epochs]
    np.testing.assert_array_equal(np.packbits(masks, axis=-1), mine[name])


def check_head(meta: dict, arrays: dict, mine: dict) -> None:
  """Its statistics, and ours next to them."""
  for name, config in meta["configs"].items():
    golden = _within(mine, name)
    batches = int(golden["n_batches"])
    masks = np.array([_span_masks(config, 1234, e, 0) for e in range(batches)])
    rows = masks.reshape(-1, config["T"])
    np.testing.assert_array_equal(masks.sum(0), golden["pos_count"])
    np.testing.assert_array_equal(
      [_histogram(row, config["T"]) for row in masks.sum(2).T],
      golden["count_hist"],
    )
    runs = [_runs(row) for row in rows]
    np.testing.assert_array_equal(
      _histogram(np.concatenate(runs), config["T"]), golden["run_len_hist"]
    )
    np.testing.assert_array_equal(
      _histogram([len(r) for r in runs], config["T"]), golden["n_runs_hist"]
    )
    for size in sorted(set(_sizes(config))):
      # A row that is a whole batch is not equalised with others.
      rng = np.random.default_rng(0)
      alone = [
        reference.span_masks([rng], [size], size, *_settings(config))[0]
        for _ in range(batches)
      ]
      single = config["B"] == 1  # then the golden statistics are theirs
      _check_spans(config, size, rows if single else np.array(alone))


def _check_spans(config, size, theirs):
  """Ours differ from rows of the reference by the exact count alone."""
  span_mask, rng = SpanMask(*_settings(config)), np.random.default_rng(1)
  example = examples.padded(size)
  ours = np.stack([span_mask(rng, example)["mask"] for _ in theirs])
  count = span_mask.count(size)
  assert (ours.sum(1) == count).all()
  _check_count(count, theirs.sum(1), 0.5)
  _check_positions(ours, theirs.sum(0))
  # A last span that is cut adds to the runs, the more the shorter the input.
  runs = [np.mean([len(_runs(row)) for row in rows]) for rows in (ours, theirs)]
  np.testing.assert_allclose(*runs, rtol=0.1)


def check_older(meta: dict, arrays: dict, mine: dict) -> None:
  """The release before has another rule, which nothing here follows."""
  pytest.skip("v0.12.2: one number of spans for a batch; we follow the later")


def check_tokens(meta: dict, arrays: dict, mine: dict, name: str) -> None:
  """One configuration of token masks: exact ones, statistics, and ours."""
  config, vocab_size = meta["configs"][name], meta["vocab"]
  settings = (
    config["mask_prob"],
    config["mask_multiple_length"],
    config["random_token_prob"],
    config["leave_unmasked_prob"],
  )

  def theirs(index, tokens):
    rng = reference.row_rng(meta["seed"], 0, index)
    return reference.token_mask(rng, tokens, vocab_size, *settings)

  for i, tokens in enumerate(arrays["items_first8"]):
    selected, student = theirs(i, tokens)
    np.testing.assert_array_equal(student, mine["src_first8"][i])
    target = np.where(selected, tokens, 1)
    np.testing.assert_array_equal(target, mine["target_first8"][i])

  first = 0
  for texts in _LENGTHS:
    golden, size = _within(mine, texts), int(texts.removeprefix("len"))
    draws = golden["selected_count_hist"].sum()
    tokens = np.full(size, 5)  # which ones does not matter to the draws
    pairs = [theirs(first + i, tokens) for i in range(draws)]
    first += draws
    selected = np.array([s for s, _ in pairs])
    hidden = np.array([t for _, t in pairs]) == vocab_size - 1
    for key, value in (
      ("pos_count", selected.sum(0)),
      ("selected_count_hist", _histogram(selected.sum(1), size)),
      ("mask_token_count_hist", _histogram(hidden.sum(1), size)),
      (
        "run_len_hist",
        _histogram(np.concatenate([_runs(s) for s in selected]), size),
      ),
    ):
      np.testing.assert_array_equal(value, golden[key], err_msg=key)

    token_mask, rng = TokenMask(*settings), np.random.default_rng(1)
    example = examples.text(tokens, vocab_size)
    drawn = [token_mask(rng, example) for _ in range(draws)]
    # Where all that is selected is hidden, it is not given twice.
    ours = np.array([d.get("selected", d["mask"]) for d in drawn])
    num_selected, num_hidden, _ = token_mask.counts(size)
    assert (ours.sum(1) == num_selected).all()
    assert {int(d["mask"].sum()) for d in drawn} == {num_hidden}
    _check_positions(ours, golden["pos_count"])
    # Rounded means, where theirs vary; hidden is rounded twice.
    _check_count(num_selected, selected.sum(1), 0.5)
    _check_count(num_hidden, hidden.sum(1), 1.0)


def _span_masks(config, seed, epoch, first):
  sizes = _sizes(config)
  rngs = [
    reference.row_rng(seed, epoch, first + row) for row in range(len(sizes))
  ]
  return reference.span_masks(rngs, sizes, config["T"], *_settings(config))


def _settings(config):
  return config["mask_prob"], config["mask_length"], config["min_masks"]


def _sizes(config):
  return config.get("lengths", [config["T"]] * config["B"])


def _within(arrays, prefix):
  prefix += "/"
  return {
    name.removeprefix(prefix): value
    for name, value in arrays.items()
    if name.startswith(prefix)
  }


def _histogram(values, largest):
  return np.bincount(values, minlength=largest + 1)


def _runs(mask):
  """Lengths of the runs of hidden positions."""
  edges = np.flatnonzero(np.diff(np.concatenate([[0], mask, [0]])))
  return edges[1::2] - edges[::2]


def _check_count(ours, theirs, rounding):
  """Our one count is the mean of theirs, but for what rounding makes of it."""
  error = stats.norm.isf(LEVEL / 2) * theirs.std() / np.sqrt(len(theirs))
  assert abs(ours - theirs.mean()) < rounding + error


def _check_positions(masks, theirs):
  """How often each position is masked, in two samples of the same size."""
  ours, draws = masks.sum(0), len(masks)
  share = (ours + theirs) / (2 * draws)
  scale = np.sqrt(2 * draws * share * (1 - share))
  z = (ours - theirs) / np.where(scale > 0, scale, 1)
  # Bonferroni: holds whatever the dependence between positions.
  assert np.abs(z).max() < stats.norm.isf(LEVEL / 2 / masks.shape[1])
