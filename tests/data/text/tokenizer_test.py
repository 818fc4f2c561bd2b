import itertools
import json
import pickle
import re

import numpy as np
import pytest

from d2v_jax.data.text import sources, tokenizer

SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]

# GPT-2's spelling of bytes: printable ones as they are, the others from 256 on.
PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
OTHERS = [b for b in range(256) if b not in PRINTABLE]
SPELLING = {b: chr(b) for b in PRINTABLE}
SPELLING |= {b: chr(256 + i) for i, b in enumerate(OTHERS)}

MERGES = [
  ("t", "h"),
  ("th", "e"),
  ("Ġ", "the"),
  ("l", "l"),
  ("h", "e"),
  ("he", "ll"),
  ("hell", "o"),
  ("Ġ", "hello"),
  ("Ã", "©"),  # é
  ("Ġ", "Ġ"),
]
PIECES = [*SPELLING.values(), *(a + b for a, b in MERGES)]
GPT2 = {piece: i for i, piece in enumerate(PIECES)}

TEXTS = [
  "hello the hello",
  " hello  the\n\n theory's 123 they'll",
  "<mask>the</s> <s>",
  "café 日本語 🙂\u2028x\x00\ty_z",
  "",
]


def reference_pieces(text):
  """Byte-level BPE from its description; regex classes by Python's re."""
  words = re.findall(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+",
    text,
  )
  rank = {merge: i for i, merge in enumerate(MERGES)}
  pieces = []
  for word in words:
    parts = [SPELLING[b] for b in word.encode()]
    while True:
      pairs = list(itertools.pairwise(parts))
      best = min(pairs, key=lambda p: rank.get(p, 99), default=None)
      if best not in rank:
        break
      merged, i = [], 0
      while i < len(parts):
        both = tuple(parts[i : i + 2]) == best
        merged.append("".join(best) if both else parts[i])
        i += 2 if both else 1
      parts = merged
    pieces += parts
  return pieces


def write_pair(folder, vocab, names=("vocab.json", "merges.txt")):
  folder.mkdir(exist_ok=True)
  (folder / names[0]).write_text(json.dumps(vocab))
  lines = ["#version: 0.2", *(" ".join(m) for m in MERGES)]
  (folder / names[1]).write_text("\n".join(lines) + "\n", encoding="utf-8")
  return folder


@pytest.fixture
def gpt2(tmp_path):
  return write_pair(tmp_path / "gpt2", GPT2)


def roberta_vocab():
  tokens = [*SPECIALS, *PIECES, "<mask>"]
  return {token: i for i, token in enumerate(tokens)}


@pytest.mark.parametrize("text", TEXTS)
def test_gpt2_ids_move_up_by_four(gpt2, text):
  loaded = tokenizer.load(gpt2)
  ids = loaded.encode(text)
  assert ids.dtype == np.int32
  assert ids.tolist() == [GPT2[p] + 4 for p in reference_pieces(text)]
  assert loaded.decode(ids) == text
  assert loaded.vocab_size == len(GPT2) + 5


def test_no_prefix_space(gpt2):
  loaded = tokenizer.load(gpt2)
  first = loaded.encode("hello").tolist()
  assert first == [GPT2["hello"] + 4]
  assert loaded.encode(" hello").tolist() == [GPT2["Ġhello"] + 4]


def test_roberta_vocabulary_keeps_its_ids(tmp_path, gpt2):
  loaded = tokenizer.load(write_pair(tmp_path / "roberta", roberta_vocab()))
  other = tokenizer.load(gpt2)
  for text in TEXTS:
    assert loaded.encode(text).tolist() == other.encode(text).tolist()
  assert loaded.fingerprint == other.fingerprint


@pytest.fixture
def fairseq(tmp_path):
  """dict.txt: ids backwards, without that of 'Ġhello' and of 'z'."""
  folder = write_pair(tmp_path / "fairseq", GPT2, ("encoder.json", "vocab.bpe"))
  absent = {GPT2["Ġhello"], GPT2["z"]}
  words = [i for i in reversed(range(len(GPT2))) if i not in absent]
  lines = [f"{word} {7}" for word in [*words, "madeupword0000"]]
  (folder / "dict.txt").write_text("\n".join(lines) + "\n")
  return folder


def test_fairseq_ids_are_those_of_dict_txt(fairseq):
  loaded = tokenizer.load(fairseq)
  assert loaded.vocab_size == 4 + len(GPT2) - 2 + 1 + 1
  lines = (fairseq / "dict.txt").read_text().splitlines()
  ids = {line.split()[0]: i for i, line in enumerate(lines, 4)}
  for text in TEXTS:
    wanted = [ids.get(str(GPT2[p]), 3) for p in reference_pieces(text)]
    assert loaded.encode(text).tolist() == wanted
  assert loaded.encode("z hello").tolist() == [3, 3]
  assert loaded.decode(loaded.encode("thez they")) == "the they"
  with pytest.raises(ValueError, match="have no id of their own"):
    loaded.save(fairseq / "tokenizer.json")


def test_fairseq_with_all_ids_equals_roberta(tmp_path, gpt2):
  folder = write_pair(tmp_path / "all", GPT2, ("encoder.json", "vocab.bpe"))
  lines = [f"{i} 1" for i in range(len(GPT2))]
  (folder / "dict.txt").write_text("\n".join(lines))
  loaded, plain = tokenizer.load(folder), tokenizer.load(gpt2)
  assert loaded.fingerprint == plain.fingerprint
  (folder / "dict.txt").unlink()
  assert tokenizer.load(folder).fingerprint == plain.fingerprint


def test_special_names_in_a_text_are_bytes():
  loaded = tokenizer.load(name="kjv")
  for name in [*SPECIALS, "<mask>"]:
    for text in (name, f"a{name}b", f" {name} "):
      ids = loaded.encode(text)
      assert ids.min() > 3 and ids.max() < loaded.vocab_size - 1
      assert loaded.decode(ids) == text


def test_embedded_tokenizer_covers_any_text():
  loaded = tokenizer.load(name="kjv")
  assert loaded.vocab_size == 2000
  rng = np.random.default_rng(0)
  points = rng.integers(0, 0x11_0000, 3000)
  text = "".join(chr(p) for p in points if not 0xD800 <= p < 0xE000)
  assert loaded.decode(loaded.encode(text)) == text
  assert loaded.decode([0, *loaded.encode("and God said"), 2, 1999, 1]) == (
    "and God said"
  )
  # Half a surrogate pair, which JSON may hold, has no bytes.
  assert loaded.decode(loaded.encode("a\ud800b")) == "a?b"


def test_embedded_tokenizer_was_trained_on_the_train_split():
  lines = (t for d in sources.Kjv("train").documents() for t in d)
  trained = tokenizer.train(lines, 2000)
  assert trained.fingerprint == tokenizer.load(name="kjv").fingerprint


def test_save_load_pickle(tmp_path):
  trained = tokenizer.train(["the cat sat on the mat", "café the"] * 3, 265)
  assert trained.vocab_size == 265
  trained.save(tmp_path / "tokenizer.json")
  text = "the <mask> café 🙂"
  for other in (
    tokenizer.load(tmp_path / "tokenizer.json"),
    tokenizer.load(str(tmp_path)),
    pickle.loads(pickle.dumps(trained)),
  ):
    assert other.fingerprint == trained.fingerprint
    assert other.encode(text).tolist() == trained.encode(text).tolist()
  with pytest.raises(ValueError, match="exists; remove it or choose another"):
    trained.save(tmp_path / "tokenizer.json")


def test_a_written_file_is_one_of_the_tokenizers_library(tmp_path):
  import tokenizers

  trained = tokenizer.train(["the cat sat on the mat"] * 3, 265)
  trained.save(tmp_path / "t.json")
  library = tokenizers.Tokenizer.from_file(str(tmp_path / "t.json"))
  text = "the café"
  assert library.encode(text).ids == trained.encode(text).tolist()
  assert library.token_to_id("<mask>") == 264
  assert [library.token_to_id(t) for t in SPECIALS] == [0, 1, 2, 3]


def test_encode_batch_equals_encode(gpt2):
  loaded = tokenizer.load(gpt2)
  for one, text in zip(loaded.encode_batch(TEXTS), TEXTS, strict=True):
    assert one.dtype == np.int32
    np.testing.assert_array_equal(one, loaded.encode(text))
  assert loaded.encode_batch([]) == []
  flat, lengths = loaded.encode_flat(["", "hello", "", "they the"])
  assert lengths.tolist() == [len(loaded.encode(t)) for t in ("", "hello")] + [
    0,
    len(loaded.encode("they the")),
  ]
  np.testing.assert_array_equal(
    flat, [*loaded.encode("hello"), *loaded.encode("they the")]
  )


def test_decode_errors(gpt2):
  loaded = tokenizer.load(gpt2)
  for wrong in (-1, loaded.vocab_size):
    with pytest.raises(ValueError, match=rf"id {wrong} is not in 0 to 270"):
      loaded.decode([5, wrong])


def test_training_errors():
  with pytest.raises(ValueError, match=r"must be >= 261 .* got 260"):
    tokenizer.train(["text"], 260)
  assert tokenizer.train([], 261).encode("a").tolist() == [68]
  with pytest.raises(ValueError, match=r"gives only 262 .* set vocab_size=262"):
    tokenizer.train(["ab"] * 5, 300)


def test_load_errors(tmp_path, gpt2):
  def failing(match, path=None, **kwargs):
    with pytest.raises(ValueError, match=match):
      tokenizer.load(path, **kwargs)

  failing("give either path or name, got path=None, name=None")
  failing("give either path or name", gpt2, name="kjv")
  failing("unknown name 'gpt'; choose one of: kjv, or set path", name="gpt")
  failing("does not exist; path must be a tokenizer.json", tmp_path / "none")
  (gpt2 / "merges.txt").unlink()
  failing("has no tokenizer; .* vocab.json and merges.txt", gpt2)
  with pytest.raises(TypeError, match="unexpected keyword"):
    tokenizer.load(file="x")


def test_vocabulary_errors(tmp_path):
  def failing(match, vocab):
    with pytest.raises(ValueError, match=match):
      tokenizer.load(write_pair(tmp_path / "t", vocab))

  gap = {t: i + (i > 9) for t, i in GPT2.items()}
  failing("must be 0 to 265, each once, but in place of 10 comes 11", gap)
  failing("in place of 1 comes 0", {t: 0 for t in GPT2})
  moved = roberta_vocab()
  moved["<mask>"], moved["!"] = moved["!"], moved["<mask>"]
  failing(
    "special tokens must have the ids .*'<mask>': 270.* got .*: 4}", moved
  )
  some = {t: i for i, t in enumerate(["<s>", *GPT2])}
  failing("got {'<s>': 0, '<pad>': None", some)
  failing("must hold an object token -> id", ["a"])
  (tmp_path / "t" / "vocab.json").write_text("{")
  with pytest.raises(ValueError, match=r"vocab.json is not JSON"):
    tokenizer.load(tmp_path / "t")
  folder = write_pair(tmp_path / "t", GPT2)
  (folder / "merges.txt").write_text("a b\na b c\n")
  with pytest.raises(ValueError, match=r"must be two pieces .* got 'a b c'"):
    tokenizer.load(folder)


def test_fairseq_errors(fairseq):
  file = fairseq / "dict.txt"
  good = file.read_text()
  file.write_text(good + "999 1\n")
  with pytest.raises(ValueError, match=r"dict.txt:266: '999' is not an id"):
    tokenizer.load(fairseq)
  file.write_text(good + "0 1\n")
  with pytest.raises(ValueError, match="a token is there twice"):
    tokenizer.load(fairseq)


@pytest.mark.parametrize(
  ("change", "match"),
  [
    (
      {"model": {"type": "WordPiece", "vocab": {}}},
      "not a tokenizer.json of a",
    ),
    ({"pre_tokenizer": None}, "not byte-level BPE"),
    ({"pre_tokenizer": {"type": "Metaspace"}}, "not byte-level BPE"),
    ({"normalizer": {"type": "Lowercase"}}, "its normalizer null"),
    (
      {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}},
      "pre_tokenizer.add_prefix_space=True is not supported, only False",
    ),
    (
      {"pre_tokenizer": {"type": "ByteLevel", "use_regex": False}},
      "pre_tokenizer.use_regex=False is not supported, only True",
    ),
  ],
)
def test_tokenizer_json_errors(tmp_path, change, match):
  file = tmp_path / "tokenizer.json"
  tokenizer.train([], 261).save(file)
  content = json.loads(file.read_text())
  file.write_text(json.dumps(content | change))
  with pytest.raises(ValueError, match=match):
    tokenizer.load(file)


def test_tokenizer_json_variants(tmp_path):
  file = tmp_path / "tokenizer.json"
  tokenizer.train(["the the the"] * 3, 263).save(file)
  content = json.loads(file.read_text())
  known = tokenizer.load(file).fingerprint
  # Older versions write a merge as one string.
  content["model"]["merges"] = [" ".join(m) for m in content["model"]["merges"]]
  file.write_text(json.dumps(content))
  assert tokenizer.load(file).fingerprint == known
  content["model"]["dropout"] = 0.1
  file.write_text(json.dumps(content))
  with pytest.raises(ValueError, match=r"model.dropout=0.1 is not supported"):
    tokenizer.load(file)
  file.write_text("no json")
  with pytest.raises(ValueError, match="is not JSON"):
    tokenizer.load(file)


def test_command(tmp_path, capsys):
  text = tmp_path / "a.txt"
  text.write_text("the cat sat\n\non the mat\n" * 5)
  rows = tmp_path / "b.tsv"
  rows.write_text(
    "split\tverse\n" + "train\tthe bat\n" * 5 + "test\tzzzz\n" * 9
  )
  out = tmp_path / "t.json"
  args = [str(out), str(text), str(rows), "--column=verse"]
  args += ["--split=train", "--vocab_size=266"]
  assert tokenizer.main(args) == 0
  assert "set encoder.vocab_size=266" in capsys.readouterr().out
  lines = [*["the cat sat", "on the mat"] * 5, *["the bat"] * 5]
  trained = tokenizer.train(lines, 266)
  assert tokenizer.load(out).fingerprint == trained.fingerprint
  assert tokenizer.main(args) == 2
  assert "exists; remove it" in capsys.readouterr().err
  assert tokenizer.main([str(tmp_path / "u"), str(tmp_path / "x")]) == 2
  assert "TextFiles: no text in" in capsys.readouterr().err
