import gzip
import math

import pytest

from d2v_jax.decoding.arpa import Arpa

TRIGRAM = """\
Comments may come first.

\\data\\
ngram 1=6
ngram 2=5
ngram 3=3

\\1-grams:
-1.5\t<unk>\t-0.1
-99\t<s>\t-0.2
-0.9\t</s>
-1\tthe\t-0.4
-1.25\tcat\t-0.5
-2\tsat\t0.25

\\2-grams:
-0.5\tthe cat\t-0.3
-0.75\t<s> the\t-0.6
-0.8 cat sat
-0.6\tsat </s>
-0.7\t<s> cat\t-0.05

\\3-grams:
-0.1\t<s> the cat
-0.2\tthe cat sat
-0.3\tcat sat </s>

\\end\\
"""


def write(tmp_path, text, name="lm.arpa"):
  path = tmp_path / name
  data = text.encode()
  path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
  return path


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_probabilities_computed_by_hand(tmp_path, name):
  lm = Arpa(write(tmp_path, TRIGRAM, name))
  assert lm.order == 3
  for words, log10 in (
    ("cat", -1.25),
    ("the cat", -0.5),
    ("<s> the cat", -0.1),
    ("the cat sat", -0.2),
    # Only the last two words count.
    ("sat <s> the cat", -0.1),
    # back-off of 'the', then 1-gram
    ("the sat", -0.4 - 2),
    # 'sat' has no weight as a 2-gram with cat; its own is positive
    ("cat sat the", 0 + 0.25 - 1),
    # of '<s> the', then of 'the'
    ("<s> the sat", -0.6 - 0.4 - 2),
    # of '<s> cat', then a 2-gram
    ("<s> cat sat", -0.05 - 0.8),
    # 'the sat' was never seen: no weight, then of 'sat'
    ("the sat cat", 0.25 - 1.25),
    ("cat sat </s>", -0.3),
    ("<unk> the", -0.1 - 1),
    ("the <unk>", -0.4 - 1.5),
  ):
    *context, word = [lm.numbers[w] for w in words.split()]
    expected = log10 * math.log(10)
    assert lm.log_prob(tuple(context), word) == pytest.approx(
      expected, rel=1e-6
    ), words


def test_a_mark_of_the_byte_order_in_front(tmp_path):
  text = "\ufeff" + TRIGRAM[TRIGRAM.index("\\data") :]
  lm, plain = Arpa(write(tmp_path, text)), Arpa(write(tmp_path, TRIGRAM, "a"))
  assert lm.numbers == plain.numbers and lm.order == 3


def test_contexts(tmp_path):
  lm = Arpa(write(tmp_path, TRIGRAM))
  the, cat, sat = (lm.numbers[w] for w in ("the", "cat", "sat"))
  assert lm.start == (lm.numbers["<s>"],)
  assert lm.end == lm.numbers["</s>"]
  assert lm.unknown == lm.numbers["<unk>"]
  assert lm.extend(lm.start, the) == (*lm.start, the)
  assert lm.extend((the, cat), sat) == (cat, sat)


UNIGRAM = """\
\\data\\
ngram 1=3

\\1-grams:
-1\t<s>
-0.5\t</s>
-0.25\tä'b
\\end\\
"""


def test_one_gram(tmp_path):
  lm = Arpa(write(tmp_path, UNIGRAM))
  word = lm.numbers["ä'b"]
  assert lm.order == 1 and lm.unknown is None
  assert lm.extend(lm.start, word) == ()
  for context in ((), lm.start):
    assert lm.log_prob(context, word) == pytest.approx(-0.25 * math.log(10))


def test_a_bigram_that_nothing_follows(tmp_path):
  text = UNIGRAM.replace("=3", "=3\nngram 2=0").replace(
    "\\end", "\n\\2-grams:\n\n\\end"
  )
  lm = Arpa(write(tmp_path, text))
  assert lm.order == 2
  assert lm.log_prob(lm.start, lm.end) == pytest.approx(-0.5 * math.log(10))


def test_the_order_of_lines_does_not_matter(tmp_path):
  lines = TRIGRAM.splitlines(keepends=True)
  for title, count in (("\\2-grams:\n", 5), ("\\3-grams:\n", 3)):
    at = lines.index(title) + 1
    lines[at : at + count] = lines[at : at + count][::-1]
  a, b = Arpa(write(tmp_path, TRIGRAM)), Arpa(write(tmp_path, "".join(lines)))
  numbers = range(len(a.numbers))
  for context in [(i, j) for i in numbers for j in numbers]:
    for word in numbers:
      assert a.log_prob(context, word) == b.log_prob(context, word)


@pytest.mark.parametrize(
  ("old", "new", "message"),
  [
    ("\\data\\\n", "", r"arpa:\d+: the file ends without a line \\data\\"),
    ("ngram 2=5", "ngram 3=5", r":5: expected 'ngram 2=...', got 'ngram 3=5'"),
    ("ngram 2=5", "ngram two=5", r":5: expected 'ngram 2=...'"),
    (
      "\\1-grams:",
      "\\2-grams:",
      r":8: expected \\1-grams:, got '\\\\2-grams:'",
    ),
    ("ngram 1=6", "ngram 1=7", r":15: expected one of 7 1-grams: .*, got ''"),
    ("ngram 1=6", "ngram 1=5", r":14: expected \\2-grams:, got '-2\\tsat"),
    ("-1\tthe\t-0.4", "-1\tthe\t-0.4\t3", r":12: expected one of 6 1-grams"),
    ("-1.25\tcat", "-x\tcat", r":13: could not convert .*'-x'.*, got '-x\\tca"),
    ("-1.25\tcat", "1.25\tcat", r":13: logarithms must be finite, and that of"),
    ("-1.25\tcat", "nan\tcat", r":13: logarithms must be finite"),
    ("-1.25\tcat", "-1.25\tthe", r":13: the word the is there twice"),
    ("-0.8 cat sat", "-0.8 cat sit", r":19: 'sit' is not among the 1-grams"),
    ("-0.8 cat sat", "-0.8 the cat", r":19: this n-gram is there twice"),
    (
      "-0.3\tcat sat",
      "-0.3\tsat cat",
      r":26: its first 2 words are not among the 2-grams",
    ),
    ("\\end\\\n", "", r":27: expected \\end\\, got ''"),
    (
      "-0.3\tcat sat </s>\n\n\\end\\\n",
      "",
      r":25: the file ends before the la",
    ),
    ("</s>", "<t>", "has no word </s>"),
  ],
)
def test_malformed_files(tmp_path, old, new, message):
  assert old in TRIGRAM
  with pytest.raises(ValueError, match=message):
    Arpa(write(tmp_path, TRIGRAM.replace(old, new)))


def test_files_that_cannot_be_read(tmp_path):
  with pytest.raises(ValueError, match=r"no such file: .*none"):
    Arpa(tmp_path / "none.arpa")
  whole = write(tmp_path, TRIGRAM, "lm.arpa.gz").read_bytes()
  for data in (whole[:-20], TRIGRAM.encode()):
    (tmp_path / "cut.arpa.gz").write_bytes(data)
    with pytest.raises(ValueError, match=r"cannot read .*cut.arpa.gz: "):
      Arpa(tmp_path / "cut.arpa.gz")
  latin = UNIGRAM.encode("latin-1")
  (tmp_path / "latin.arpa").write_bytes(latin)
  with pytest.raises(ValueError, match=r"latin.arpa:7: .* is not UTF-8"):
    Arpa(tmp_path / "latin.arpa")
  (tmp_path / "binary.arpa").write_bytes(bytes(range(256)) * 10)
  with pytest.raises(ValueError, match=r"is it an ARPA file\? \(KenLM's bin"):
    Arpa(tmp_path / "binary.arpa")
