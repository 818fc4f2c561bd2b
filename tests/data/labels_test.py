# ruff: noqa: RUF001  (letters that look alike are what is tested)
import ast
import dataclasses
import pickle
import re

import numpy as np
import pytest

from d2v_jax.data.labels import CHARACTERS, LABELS, Characters, RecordLabel


def test_record_label_keeps_the_kind_of_number():
  for value, dtype in (
    (3, np.int32),
    (np.int64(3), np.int32),
    (3.0, np.float32),
    (np.float64(3), np.float32),
  ):
    label = RecordLabel()({"label": value})
    assert (label.shape, label.dtype, label) == ((), dtype, 3)


@pytest.mark.parametrize(
  ("record", "message"),
  [
    ({"text": "A", "record": 4}, "record of record 4 has no 'label'"),
    ({"text": "A", "audio": 1}, "no 'label', only audio, text; choose a sou"),
    ({"label": "cat", "record": 4}, "label of record 4 is 'cat'; it must be"),
    ({"label": [1, 2]}, r"the label is \[1, 2\]; it must be one integer"),
    ({"label": True}, "the label is True"),
  ],
)
def test_record_label_errors(record, message):
  with pytest.raises(ValueError, match=message):
    RecordLabel()(record)


def test_the_standard_characters():
  # fairseq's dictionary has 32 symbols, 4 of them special.
  assert len(CHARACTERS) == len(set(CHARACTERS)) == 28
  assert set(CHARACTERS) == set("ABCDEFGHIJKLMNOPQRSTUVWXYZ'|")
  assert Characters(1).num_outputs == 29


def test_numbers_by_hand():
  labels = Characters(max_length=10)
  # | E T A O N: 1 2 3 4 5 6, and after every word a boundary.
  assert labels.ids(" a  tone\n") == [4, 1, 3, 5, 6, 2, 1]
  label = labels({"text": "A TONE"})
  assert label.dtype == np.int32
  assert label.tolist() == [4, 1, 3, 5, 6, 2, 1, -1, -1, -1]
  assert labels.text(label) == "A TONE"
  assert labels.ids("") == labels.ids("  ") == []
  assert labels({"text": ""}).tolist() == [-1] * 10
  assert labels.ids("A|TONE|") == labels.ids("A TONE")


def test_text_of_numbers_that_a_model_may_give():
  labels = Characters(10)
  assert labels.text([0, 1, 1, 4, 0, 4, 1, 0, 1, 2, -1]) == "AA E"
  assert labels.text([]) == labels.text([0, -1, 1]) == ""


def test_text_and_numbers_are_inverse():
  rng = np.random.default_rng(0)
  characters = "|abcäß"
  labels = Characters(100, characters, case=None)
  for _ in range(20):
    words = ["".join(rng.choice(list("abcäß"), 3)) for _ in range(4)]
    text = " ".join(words)
    assert labels.text(labels.ids(text)) == text


def test_frames_needed():
  labels = Characters(100)
  assert labels.frames_needed("") == 0
  assert labels.frames_needed("AB") == 3
  assert labels.frames_needed("AA B") == 6  # A _ A | B |
  assert labels.frames_needed("AAA") == 6


def test_case():
  assert Characters(9, "|ab", "lower").ids("AB") == [2, 3, 1]
  assert Characters(9, "|aB", None).ids("aB") == [2, 3, 1]
  with pytest.raises(ValueError, match=r"has 'A', not among characters '\|aB'"):
    Characters(9, "|aB", None).ids("AB")


def test_an_accent_is_the_same_however_it_was_typed():
  labels = Characters(9, "|ÉA")
  assert labels.ids("e\u0301a") == labels.ids("\u00e9a") == [2, 3, 1]
  with pytest.raises(ValueError, match="the normal form NFC"):
    Characters(9, "|E\u0301")


def test_case_of_a_language():
  turkish = Characters(20, "|Iİ", language="tr")
  # Two words that Unicode's own rule makes one.
  assert turkish.text(turkish.ids("ıi iı Iİ")) == "Iİ İI Iİ"
  lower = Characters(20, "|ıi", "lower", "tr")
  assert lower.text(lower.ids("Iİ")) == "ıi"
  german = Characters(20, "|MASEẞ", language="de")
  assert german.text(german.ids("Masse Maße")) == "MASSE MAẞE"


def name(i):
  return f"record {i}"


@pytest.mark.parametrize(
  ("labels", "text", "message"),
  [
    (
      Characters(99),
      "ılık",
      "texts have ı, whose case .* such as 'tr', or con",
    ),
    (
      Characters(99),
      "Maße",
      "texts have ß, whose case .* such as 'de', or con",
    ),
    (Characters(99, "|a", "lower"), "İ", "texts have İ, .*case='lower'; set"),
  ],
)
def test_case_that_a_language_decides(labels, text, message):
  with pytest.raises(ValueError, match=message):
    labels.check_texts(["A", text], name)
  given = dataclasses.replace(labels, language="en")
  with pytest.raises(ValueError, match="not among"):
    given.check_texts(["?", text], name)


def test_all_that_is_wrong_with_texts_is_said_at_once():
  labels = Characters(99, "|AB")
  labels.check_texts(["a b", "b"], name)
  texts = ["a b", "a-b.", "c", "b-"]
  with pytest.raises(ValueError) as error:
    labels.check_texts(texts, name)
  message = str(error.value)
  assert "3 of 4 texts have characters that are not among '|AB'" in message
  assert (
    "'-' in 2, '.' in 1, 'C' in 1; the first is record 1: 'a-b.'" in message
  )
  # Each of the three remedies does.
  for remedy in (
    {"drop": ast.literal_eval(re.search(r"drop=(\S+),", message).group(1))},
    {"characters": re.search(r"characters='(\S+)'", message).group(1)},
    {"replace": (("-", " "), (".", ""), ("C", "AB"))},
  ):
    dataclasses.replace(labels, **remedy).check_texts(texts, name)
  with pytest.raises(ValueError, match=r"2 of 3 .* longest, record 2, has 6 l"):
    Characters(3, "|AB").check_texts(["a", "a a", "aabba"], name)


def test_what_is_dropped_and_replaced():
  labels = Characters(
    99, "|ABÄ", drop="-.", replace=(("Æ", "Ä"), ("&", " AB "))
  )
  assert labels.text(labels.ids("a-b. æ&b")) == "AB Ä AB B"
  assert labels.frames_needed("a-a") == 4


@pytest.mark.parametrize("extra", ["É2", "2"])
def test_the_error_gives_characters_that_will_do(extra):
  text = f"TONE {extra}"
  with pytest.raises(ValueError, match="of record 7 has") as error:
    Characters(20)({"text": text, "record": 7})
  message = str(error.value)
  assert repr(text) in message
  assert repr("".join(sorted(extra))) in message
  proposed = ast.literal_eval(re.search(r"to (\S+)\.$", message).group(1))
  assert proposed.startswith(CHARACTERS)  # numbers stay what they are
  assert Characters(20, proposed)({"text": text}).max() > 28


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: Characters(0), "max_length must be 1 or more, got 0"),
    (
      lambda: Characters(9, case="title"),
      "unknown case 'title'; choose 'upper'",
    ),
    (lambda: Characters(9, language="Turkish"), "must be a code such as 'tr'"),
    (lambda: Characters(9, replace=(("a",),)), r"replace must have pairs .*a"),
    (lambda: Characters(9, "ABC"), "must hold '|' and each character once"),
    (lambda: Characters(9, "|AA"), r"repeated: \['A'\]"),
    (lambda: Characters(9, "| A"), "without white space"),
    (lambda: Characters(9, "|a"), "'|a' do not fit case='upper'"),
    (
      lambda: Characters(3)({"text": "TONE", "record": 2}),
      "of record 2 has 5 labels, more than max_length=3; .* at least 5",
    ),
    (lambda: Characters(9)({"label": 2}), "record has no 'text', only label"),
    (
      lambda: Characters(9).text([3, 29]),
      "no character number 29 .* num_outputs=29, as in config.objective.head",
    ),
  ],
)
def test_errors(make, message):
  with pytest.raises(ValueError, match=message):
    make()


def test_the_table_and_workers():
  assert sorted(LABELS) == ["characters", "class_sets", "label"]
  labels = Characters(9)
  assert pickle.loads(pickle.dumps(labels)) == labels
