"""From CTC's characters of each frame to a transcript."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from d2v_jax.config import FromRun
from d2v_jax.data.labels import Characters
from d2v_jax.decoding import word_scores
from d2v_jax.decoding.arpa import Context
from d2v_jax.decoding.word_scores import ROOT, WordScores


def collapse(frames: np.ndarray) -> np.ndarray:
  """Labels of a CTC path [N]: repeats count once, then blanks (0) go."""
  first = np.append(True, frames[1:] != frames[:-1])
  return frames[first & (frames != 0)]


class Hypothesis(NamedTuple):
  """Character numbers and the score that they were chosen by."""

  labels: tuple[int, ...]
  score: float


class BeamSearch:
  """Prefix beam search: the transcript that scores most, in all alignments.

  The score is ln p_ctc(characters), and with a language model for each word
  lm_weight * ln p(word | words before) + word_score, and lm_weight *
  ln p(</s> | words before) at the end. While a word is being spelled, the best
  that it may become counts, as far as it is known without context.

  Args:
    labels: the characters.
    beam: prefixes that are kept at each frame.
    threshold: characters less likely than a frame's likeliest, and prefixes
      that score less than the best one, by more than this (in natural
      logarithms) are given up.
    lm: path of a word n-gram, an ARPA file (`.arpa`, `.arpa.gz`); None for
      none. What follows is for it only.
    lm_weight: as above.
    word_score: as above.
    unknown_score: added for each word that the language model does not know,
      which counts as its `<unk>`; None allows known words only.

  Raises:
    ValueError: an argument is outside its range, or the language model cannot
      be used.

  Source: Hannun et al. 2014 (arXiv 1408.2873), algorithm 1, with the terms of
  wav2vec 2.0's decoder (arXiv 2006.11477, appendix B). The weights there, and
  fairseq's lm_weight, are for logarithms to base 10: divide them by 2.303. Our
  defaults are theirs for 100 hours, 2.15 / 2.303 and -0.52. Their decoder takes
  the best alignment where this one adds up all of them, and their command for
  data2vec has a beam of 1500.
  """

  def __init__(
    self,
    labels: FromRun[Characters],
    *,
    beam: int = 50,
    threshold: float = 15.0,
    lm: str | None = None,
    lm_weight: float = 0.934,
    word_score: float = -0.52,
    unknown_score: float | None = None,
  ):
    if beam < 1:
      raise ValueError(f"BeamSearch: beam must be 1 or more, got {beam}")
    if not threshold > 0:
      raise ValueError(
        f"BeamSearch: threshold must be positive, got {threshold}"
      )
    if lm_weight < 0:
      raise ValueError(f"BeamSearch: lm_weight must be >= 0, got {lm_weight}")
    self._beam = beam
    self._threshold = threshold
    self._num_outputs = labels.num_outputs
    self._boundary = labels.characters.index("|") + 1
    settings = (lm_weight, word_score, unknown_score)
    if lm is None:
      self._words = WordScores(labels, None, *settings)
      return
    try:
      self._words = word_scores.read(labels, lm, *settings)
    except ValueError as error:
      raise ValueError(f"BeamSearch: lm={lm!r}: {error}") from error

  def __call__(self, log_probs: np.ndarray) -> Hypothesis:
    """Decodes an utterance.

    Args:
      log_probs: [N, V] float, natural logarithms of each frame's probabilities;
        0 is the blank, character i has number i + 1.

    Returns:
      Characters, and their score. Where none of the beam ends in a whole word
      that is allowed, its last, incomplete words are left out.

    Raises:
      ValueError: for another shape, or values that are not finite.
    """
    if log_probs.ndim != 2 or log_probs.shape[1] != self._num_outputs:
      raise ValueError(
        f"BeamSearch: log-probabilities must be [N, {self._num_outputs}] for "
        f"{self._num_outputs - 1} characters, got {list(log_probs.shape)}"
      )
    if not np.isfinite(log_probs).all():
      raise ValueError(
        "BeamSearch: log-probabilities must be finite; write impossible "
        "characters as, say, -1e9"
      )
    prefixes = _Prefixes(self._words, 1 + len(log_probs) * self._beam)
    ids = np.zeros(1, np.int32)
    # The probability of each prefix, if its last frame is blank or is not.
    blank, character = np.zeros(1), np.full(1, -np.inf)
    for frame in log_probs.astype(np.float64):
      ids, blank, character = self._advance(
        prefixes, ids, blank, character, frame
      )
    return self._best(prefixes, ids, np.logaddexp(blank, character))

  def _advance(self, prefixes, ids, blank, character, frame):
    """The beam after one more frame."""
    total = np.logaddexp(blank, character)
    last = prefixes.last[ids]
    likely = frame > frame.max() - self._threshold
    likely[0] = False
    new = np.flatnonzero(likely)
    stays = character + frame[last]
    grown = np.where(last[:, None] == new, blank[:, None], total[:, None])
    grown += frame[new]
    # A prefix that grows into another one of the beam adds to that.
    rows, parents = prefixes.parents_among(ids)
    known = likely[last[rows]]
    rows, parents = rows[known], parents[known]
    columns = np.searchsorted(new, last[rows])
    stays[rows] = np.logaddexp(stays[rows], grown[parents, columns])
    grown[parents, columns] = -np.inf
    blank = total + frame[0]
    if not len(new):
      return ids, blank, stays
    ranks = np.concatenate(
      [
        np.logaddexp(blank, stays) + prefixes.rank[ids],
        (grown + self._growth(prefixes, ids, new)).ravel(),
      ]
    )
    kept = np.flatnonzero(ranks >= ranks.max() - self._threshold)
    kept = kept[ranks[kept] > -np.inf]
    if len(kept) > self._beam:
      best = np.argpartition(ranks[kept], -self._beam)[-self._beam :]
      kept = kept[best]
    old = kept[kept < len(ids)]
    row, column = np.divmod(kept[kept >= len(ids)] - len(ids), len(new))
    return (
      np.append(ids[old], prefixes.grow(ids[row], new[column], self._boundary)),
      np.append(blank[old], np.full(len(row), -np.inf)),
      np.append(stays[old], grown[row, column]),
    )

  def _growth(self, prefixes, ids, new):
    """Score of each prefix's words with each character more, [beam, new]."""
    words = self._words
    nodes = words.next[prefixes.node[ids][:, None], new]
    scores = prefixes.score[ids][:, None] + words.bound[nodes]
    if self._boundary in new:
      ended = prefixes.finish(ids)
      scores[:, np.searchsorted(new, self._boundary)] = ended
    return scores

  def _best(self, prefixes, ids, total):
    ended = total + prefixes.finish(ids)
    contexts = [prefixes.after[i] for i in ids]
    labels = [prefixes.labels(i) for i in ids]
    if np.isneginf(ended).all():
      ended = total + prefixes.score[ids]
      contexts = [prefixes.context[i] for i in ids]
      labels = [_whole_words(x, self._boundary) for x in labels]
    ended += [self._words.end(context) for context in contexts]
    best = int(ended.argmax())
    return Hypothesis(labels[best], float(ended[best]))


class _Prefixes:
  """All prefixes that were ever in the beam; 0 is the empty one.

  Attributes:
    last: each one's last character (0: none).
    node: where its last word is in the tree of words.
    score: of its words, without the one that is being spelled.
    rank: the same with what that may become.
    context: the words that `score` counts.
    after: the same with the last word; filled in by `finish`.
  """

  def __init__(self, words: WordScores, size: int):
    self._words = words
    self._parent = np.zeros(size, np.int32)
    self.last = np.zeros(size, np.int32)
    self.node = np.full(size, ROOT, np.int32)
    self.score = np.zeros(size)
    self.rank = np.zeros(size)
    self.context = [words.start]
    self.after: dict[int, Context] = {}
    self._ended = np.full(size, np.nan)
    self._children: dict[tuple[int, int], int] = {}
    self._row = np.full(size, -1, np.int32)

  def parents_among(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ids whose parents are there too, and the parents' rows."""
    self._row[ids] = np.arange(len(ids))
    parents = np.where(ids > 0, self._row[self._parent[ids]], -1)
    self._row[ids] = -1
    rows = np.flatnonzero(parents >= 0)
    return rows, parents[rows]

  def grow(
    self, ids: np.ndarray, characters: np.ndarray, boundary: int
  ) -> np.ndarray:
    """Prefixes with one character more each; those that are new are added."""
    grown = []
    for i, character in zip(ids.tolist(), characters.tolist(), strict=True):
      new = len(self.context)
      child = self._children.setdefault((i, character), new)
      grown.append(child)
      if child < new:
        continue
      self._parent[new] = i
      self.last[new] = character
      if character == boundary:
        self.score[new] = self._ended[i]
        self.context.append(self.after[i])
      else:
        self.score[new] = self.score[i]
        self.context.append(self.context[i])
        self.node[new] = self._words.next[self.node[i], character]
      bound = self._words.bound[self.node[new]]
      self.rank[new] = self.score[new] + bound
    return np.array(grown, np.int32)

  def finish(self, ids: np.ndarray) -> np.ndarray:
    """Score of each prefix's words when the last one ends here, [len(ids)]."""
    for i in ids[np.isnan(self._ended[ids])].tolist():
      added, self.after[i] = 0.0, self.context[i]
      if self.node[i] != ROOT:
        added, self.after[i] = self._words.word(self.context[i], self.node[i])
      self._ended[i] = self.score[i] + added
    return self._ended[ids]

  def labels(self, prefix: int) -> tuple[int, ...]:
    """Characters of a prefix."""
    characters = []
    while prefix:
      characters.append(int(self.last[prefix]))
      prefix = self._parent[prefix]
    return tuple(characters[::-1])


def _whole_words(labels, boundary):
  """Labels without what follows the last boundary."""
  while labels and labels[-1] != boundary:
    labels = labels[:-1]
  return labels
