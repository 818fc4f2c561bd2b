"""What a language model says of the words that are spelled, for decoding."""

import functools
import logging

import numpy as np
from etils import epath

from d2v_jax.data.labels import Characters
from d2v_jax.decoding.arpa import Arpa, Context

ROOT = 0  # before a word's first character
ASTRAY = 1  # after characters with which no known word begins


class WordScores:
  """A tree of the known words' characters, and each word's score in context.

  Nodes are numbered: ROOT, ASTRAY, then one for each beginning of a word.

  Args:
    labels: whose characters spell the language model's words.
    lm: the language model; None lets all characters stay at the root, so that
      no word has a score.
    lm_weight: factor of the logarithm of a probability.
    word_score: added for each word.
    unknown_score: added for each word that the language model does not know,
      which counts as its `<unk>`; None forbids such words.

  Attributes:
    next: int32 [nodes, characters + 1], the node after a character.
    bound: float64 [nodes], the highest score that a word begun so far may get
      without context; -inf if it cannot become a word that is allowed.
    start: context at the beginning.

  Raises:
    ValueError: unknown words are allowed but have no probability, or none of
      the language model's words can be spelled.
  """

  def __init__(
    self,
    labels: Characters,
    lm: Arpa | None,
    lm_weight: float,
    word_score: float,
    unknown_score: float | None,
  ):
    self._lm = lm
    self._lm_weight = lm_weight
    self._word_score = word_score
    self._unknown_score = unknown_score
    if lm is None:
      self.next = np.full((1, labels.num_outputs), ROOT, np.int32)
      self.bound = np.zeros(1)
      self.start: Context = ()
      return
    if unknown_score is not None and lm.unknown is None:
      raise ValueError(
        "the language model has no <unk>, so words that it does not know have "
        "no probability; leave unknown_score out"
      )
    self.start = lm.start
    unknown = -np.inf
    if unknown_score is not None:
      unknown = self._score(lm.unknown, ()) + unknown_score
    self._grow(labels, unknown)

  def word(self, context: Context, node: int) -> tuple[float, Context]:
    """Score of a word that ends at a node, and the context after it.

    Args:
      context: the words before it.
      node: any but ROOT.
    """
    assert self._lm is not None  # else all nodes are ROOT
    word = self._words[node]
    if word >= 0:
      return self._score(word, context), self._lm.extend(context, word)
    if self._unknown_score is None or self._lm.unknown is None:
      return -np.inf, context
    score = self._score(self._lm.unknown, context) + self._unknown_score
    return score, self._lm.extend(context, self._lm.unknown)

  def end(self, context: Context) -> float:
    """Score of the end of the sentence."""
    if self._lm is None:
      return 0.0
    return self._lm_weight * self._lm.log_prob(context, self._lm.end)

  def _score(self, word, context):
    log_prob = self._lm.log_prob(context, word)
    return self._lm_weight * log_prob + self._word_score

  def _grow(self, labels, unknown):
    width = labels.num_outputs
    children = {}  # node * width + character -> node
    bound = [0.0, unknown]
    words = [-1, -1]
    left_out = []
    special = {self._lm.start[0], self._lm.end, self._lm.unknown}
    for text, word in self._lm.numbers.items():
      if word in special:
        continue
      try:
        *spelled, _ = labels.ids(text)
      except ValueError:
        left_out.append(text)
        continue
      score = self._score(word, ())
      node = ROOT
      for character in spelled:
        node = children.setdefault(node * width + character, len(bound))
        if node == len(bound):
          bound.append(unknown)
          words.append(-1)
        bound[node] = max(bound[node], score)
      # Of words that are spelled alike, such as The and the, the likelier.
      if words[node] < 0 or score > self._score(words[node], ()):
        words[node] = word
    if not children:
      raise ValueError(
        f"no word of the language model, such as {left_out[:3]}, can be "
        f"spelled in the characters {labels.characters!r} with case="
        f"{labels.case!r}; change config.data.labels or the model"
      )
    if left_out:
      logging.warning(
        "%d of the language model's %d words cannot be spelled in characters "
        "%s and are left out, such as %s",
        len(left_out),
        len(self._lm.numbers),
        labels.characters,
        ", ".join(left_out[:5]),
      )
    self.next = np.full((len(bound), width), ASTRAY, np.int32)
    at = np.fromiter(children, np.int64, len(children))
    self.next.reshape(-1)[at] = np.fromiter(
      children.values(), np.int32, len(children)
    )
    self.bound = np.array(bound)
    self._words = words


def read(labels: Characters, path: str, *settings: float | None) -> WordScores:
  """WordScores of an ARPA file, read once for equal arguments in a row.

  Evaluators of several splits share it this way.

  Args:
    labels: of the run.
    path: of the file.
    *settings: lm_weight, word_score, unknown_score.

  Raises:
    ValueError: as `Arpa` and `WordScores` do.
  """
  file = epath.Path(path)
  version = None
  if file.exists():
    found = file.stat()
    version = (found.mtime, found.length)
  return _read(labels, path, version, *settings)


@functools.lru_cache(maxsize=1)
def _read(labels, path, version, *settings):
  del version  # a file that was written anew is read anew
  return WordScores(labels, Arpa(path), *settings)
