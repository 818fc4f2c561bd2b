import collections
import itertools
import math

import numpy as np
import pytest

from d2v_jax.data.labels import Characters
from d2v_jax.decoding.beam import BeamSearch, collapse

CHARACTERS = Characters(16, "|AB")
EXACT = {"beam": 10_000, "threshold": math.inf}


def random_frames(seed, frames=6, outputs=4):
  x = np.random.default_rng(seed).normal(0, 1.5, (frames, outputs))
  return x - np.logaddexp.reduce(x, axis=1, keepdims=True)


def random_ngrams(seed, words, order=3):
  """n-gram -> (log10 probability, back-off weight); not normalised."""
  rng = np.random.default_rng(seed)
  vocabulary = ["<s>", "</s>", "<unk>", *words]
  table = {(word,): values(rng) for word in vocabulary}
  longest = list(table)
  for _ in range(order - 1):
    candidates = [(*ngram, word) for ngram in longest for word in vocabulary]
    longest = [x for x in candidates if rng.random() < 0.4]
    table |= {ngram: values(rng) for ngram in longest}
  return table


def values(rng):
  return (round(-2 * rng.random(), 6), round(0.5 - rng.random(), 6))


def write_arpa(path, table):
  order = max(map(len, table))
  sizes = [sum(len(x) == n for x in table) for n in range(1, order + 1)]
  lines = ["\\data\\"]
  lines += [f"ngram {n}={size}" for n, size in enumerate(sizes, 1)]
  for n in range(1, order + 1):
    lines += ["", f"\\{n}-grams:"]
    for ngram, (log_prob, backoff) in table.items():
      if len(ngram) == n:
        lines.append(f"{log_prob}\t{' '.join(ngram)}\t{backoff}")
  path.write_text("\n".join([*lines, "", "\\end\\", ""]))
  return str(path)


def log10_prob(table, ngram):
  """The textbook's recursion."""
  if ngram in table:
    return table[ngram][0]
  backoff = table.get(ngram[:-1], (0, 0))[1]
  return backoff + log10_prob(table, ngram[1:])


def label_probs(log_probs, characters=CHARACTERS):
  """Characters -> probability, over all alignments."""
  found = collections.Counter()
  symbols = "-" + characters.characters
  for path in itertools.product(range(len(symbols)), repeat=len(log_probs)):
    runs = [k for k, _ in itertools.groupby(path)]
    text = "".join(symbols[k] for k in runs).replace("-", "")
    found[text] += math.exp(sum(log_probs[range(len(path)), path]))
  return found


def best_by_force(log_probs, table=None, weight=0, word_score=0, unknown=None):
  scores = {}
  for text, prob in label_probs(log_probs).items():
    score = math.log(prob)
    words = [word for word in text.split("|") if word]
    known = [table is None or (word,) in table for word in words]
    if unknown is None and not all(known):
      continue
    score += len(words) * word_score
    score += known.count(False) * (unknown or 0)
    if table is not None:
      words = [w if k else "<unk>" for w, k in zip(words, known, strict=True)]
      said = ["<s>", *words, "</s>"]
      for i in range(1, len(said)):
        ngram = tuple(said[max(0, i - 2) : i + 1])
        score += weight * math.log(10) * log10_prob(table, ngram)
    scores[text] = score
  return max(scores.items(), key=lambda item: item[1])


def spelled(hypothesis, characters=CHARACTERS):
  return "".join(characters.characters[i - 1] for i in hypothesis.labels)


def test_collapse():
  for path, expected in (
    ("", ""),
    ("000", ""),
    ("2", "2"),
    ("0022203300", "23"),
    ("2202", "22"),
    ("20210", "221"),
  ):
    frames = np.array([int(x) for x in path], int)
    assert collapse(frames).tolist() == [int(x) for x in expected]


@pytest.mark.parametrize("seed", range(20))
def test_all_prefixes_give_the_likeliest_characters(seed):
  frames = random_frames(seed)
  found = BeamSearch(CHARACTERS, **EXACT)(frames)
  text, score = best_by_force(frames)
  assert spelled(found) == text
  assert found.score == pytest.approx(score, rel=1e-9)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("unknown", [None, -1.5])
def test_all_prefixes_with_a_language_model(seed, unknown, tmp_path):
  table = random_ngrams(seed, ["A", "AB", "BA", "BAB"])
  lm = write_arpa(tmp_path / "lm.arpa", table)
  frames = random_frames(seed)
  search = BeamSearch(
    CHARACTERS,
    **EXACT,
    lm=lm,
    lm_weight=0.7,
    word_score=1.2,
    unknown_score=unknown,
  )
  found = search(frames)
  text, score = best_by_force(frames, table, 0.7, 1.2, unknown)
  assert spelled(found) == text
  assert found.score == pytest.approx(score, rel=1e-6)


def test_a_narrow_beam_is_enough_for_sharp_frames(tmp_path):
  table = random_ngrams(0, ["A", "AB", "BA", "BAB"])
  lm = write_arpa(tmp_path / "lm.arpa", table)
  for seed in range(5):
    frames = 3 * random_frames(seed, 40)
    frames -= np.logaddexp.reduce(frames, axis=1, keepdims=True)
    wide = BeamSearch(CHARACTERS, beam=2000, threshold=100.0, lm=lm)(frames)
    narrow = BeamSearch(CHARACTERS, lm=lm)(frames)
    assert narrow.labels == wide.labels
    assert narrow.score <= wide.score  # some alignments are missing


def test_characters_may_be_likelier_than_the_best_path():
  frames = np.log([[0.6, 1e-9, 0.4, 1e-9]] * 2)
  assert collapse(frames.argmax(1)).tolist() == []  # 0.36
  found = BeamSearch(CHARACTERS)(frames)
  assert spelled(found) == "A"  # 2 x 0.24 + 0.16
  assert math.exp(found.score) == pytest.approx(0.64)
  # ln 0.6 / 0.4 is 0.405, so that A is not even tried.
  assert spelled(BeamSearch(CHARACTERS, threshold=0.4)(frames)) == ""


def test_the_language_model_chooses_words(tmp_path):
  table = {
    ("<s>",): (-9, 0),
    ("</s>",): (-1, 0),
    ("A",): (-1, 0),
    ("B",): (-1, 0),
    ("A", "A"): (-2, 0),
    ("A", "B"): (-0.1, 0),
  }
  lm = write_arpa(tmp_path / "lm.arpa", table)
  # A, boundary, then A a little rather than B.
  sure, unsure = [0.01, 0.01, 0.97, 0.01], [0.01, 0.01, 0.5, 0.48]
  frames = np.log([sure, [0.01, 0.97, 0.01, 0.01], unsure])
  assert spelled(BeamSearch(CHARACTERS)(frames)) == "A|A"
  assert spelled(BeamSearch(CHARACTERS, lm=lm)(frames)) == "A|B"
  assert (
    spelled(BeamSearch(CHARACTERS, lm=lm, lm_weight=0.001)(frames)) == "A|A"
  )


def test_frames_that_are_certainly_blank_change_nothing(tmp_path):
  lm = write_arpa(tmp_path / "lm.arpa", random_ngrams(3, ["A", "AB", "B"]))
  for search in (BeamSearch(CHARACTERS), BeamSearch(CHARACTERS, lm=lm)):
    frames = random_frames(1, 10).astype(np.float32)
    filled = np.full((15, 4), -1e9, np.float32)
    filled[:10], filled[10:, 0] = frames, 0
    assert search(filled) == search(frames)
  assert search(filled[10:]).labels == ()
  assert search(filled[:0]).labels == ()


def test_incomplete_words_are_left_out_when_there_is_nothing_else(tmp_path):
  table = {("<s>",): (-9, 0), ("</s>",): (-1, 0), ("AB",): (-1, 0)}
  lm = write_arpa(tmp_path / "lm.arpa", table)
  search = BeamSearch(CHARACTERS, lm=lm, lm_weight=1.0, word_score=0.0)
  one = np.eye(4)
  frames = np.where(one[[2, 3, 1, 2]] > 0, 0.0, -1e9)  # AB|A
  for number, text, words in ((1, "", 0), (2, "AB", 1), (4, "AB|", 1)):
    found = search(frames[:number])
    assert spelled(found) == text
    assert found.score == pytest.approx(-(words + 1) * math.log(10), rel=1e-6)


def test_words_are_spelled_as_the_labels_are(tmp_path, caplog):
  table = random_ngrams(0, ["ab", "AB", "a-b", "c"], order=1)
  table["ab",], table["AB",] = (-1, 0), (-0.5, 0)
  lm = write_arpa(tmp_path / "lm.arpa", table)
  search = BeamSearch(CHARACTERS, lm=lm, lm_weight=1.0, word_score=0.0)
  assert "2 of the language model's 7 words cannot" in caplog.text
  assert "are left out, such as a-b, c" in caplog.text
  frames = np.where(np.eye(4)[[2, 3]] > 0, 0.0, -1e9)
  expected = (-0.5 + table["</s>",][0]) * math.log(10)
  assert search(frames).score == pytest.approx(expected, rel=1e-6)


def test_a_language_model_is_read_once_and_anew_when_it_changed(tmp_path):
  one = random_ngrams(0, ["A"])
  lm = write_arpa(tmp_path / "lm.arpa", one)
  frames = random_frames(0)
  first, again = (
    BeamSearch(CHARACTERS, lm=lm),
    BeamSearch(CHARACTERS, lm=lm, beam=9),
  )
  assert first._words is again._words
  write_arpa(tmp_path / "lm.arpa", random_ngrams(1, ["A", "AB"]))
  anew = BeamSearch(CHARACTERS, lm=lm)
  assert anew(frames).score != first(frames).score


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"beam": 0}, "beam must be 1 or more, got 0"),
    ({"threshold": 0.0}, "threshold must be positive, got 0.0"),
    ({"lm_weight": -1.0}, "lm_weight must be >= 0, got -1.0"),
    ({"lm": "none.arpa"}, "lm='none.arpa': Arpa: no such file: none.arpa"),
    ({"unknown_score": -5.0}, r"has no <unk>.* leave unknown_score out"),
    (
      {"labels": Characters(9, "|xy", case="lower")},
      r"no word .* such as \['A'\], can be spelled in the characters '\|xy' ",
    ),
  ],
)
def test_errors(arguments, message, tmp_path):
  table = {("<s>",): (-9, 0), ("</s>",): (-1, 0), ("A",): (-1, 0)}
  lm = write_arpa(tmp_path / "lm.arpa", table)
  with pytest.raises(ValueError, match=f"BeamSearch: .*{message}"):
    BeamSearch(**({"labels": CHARACTERS, "lm": lm} | arguments))


def test_input_errors():
  search = BeamSearch(CHARACTERS)
  for frames in (np.zeros((3, 5)), np.zeros(4)):
    with pytest.raises(
      ValueError, match=r"must be \[N, 4\] for 3 characters, got"
    ):
      search(frames)
  with pytest.raises(ValueError, match="must be finite"):
    search(np.array([[0, -np.inf, -np.inf, -np.inf]]))
