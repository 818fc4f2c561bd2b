import json
import pickle
import threading
import time

import numpy as np
import pytest

from d2v_jax.data.text import packing, sources, token_cache, tokenizer
from d2v_jax.data.text.text_files import TextFiles


def sentences(*sizes, first=10):
  """Documents of sentences of these sizes, ids counting up, </s> last."""
  made, start = [], first
  for document in sizes:
    made.append([])
    for size in document:
      ids = np.append(np.arange(start, start + size - 1), 2).astype(np.int32)
      made[-1].append(ids)
      start += size - 1
  return made


def packed(made, block_size, rule):
  return [block.tolist() for block in packing.blocks(made, block_size, rule)]


def test_documents_by_hand():
  made = sentences([3, 4, 2], [12, 3])
  assert packed(made, 9, "documents") == [
    [0, 10, 11, 2, 12, 13, 14, 2],  # 3 + 4; with 2 more it would be 9 > 8
    [0, 15, 2],
    [0, *range(16, 24)],  # 12 do not fit: a full block and a rest
    [0, 24, 25, 26, 2],
    [0, 27, 28, 2],
  ]


def test_complete_by_hand():
  made = sentences([3, 4, 2], [12, 3], [2])
  assert packed(made, 9, "complete") == [
    [0, 10, 11, 2, 12, 13, 14, 2],
    [0, 15, 2, 2],  # the end of the document
    [0, *range(16, 24)],
    [0, 24, 25, 26, 2],
    [0, 27, 28, 2, 2, 29, 2],  # the next document begins in the same block
  ]


def test_none_by_hand():
  made = sentences([3, 4, 2], [12, 3])
  stream = [10, 11, 2, 12, 13, 14, 2, 15, 2, 2, *range(16, 27), 2, 27, 28, 2]
  assert len(stream) == 25
  assert packed(made, 9, "none") == [
    [0, *stream[:8]],
    [0, *stream[8:16]],
    [0, *stream[16:24]],
  ]  # and one token is left over
  assert packed(made, 10, "none")[-1] == [0, *stream[18:]]


def test_short_remains_are_left_out():
  # 9 = 8 + 1: the lone </s> that is left makes no block.
  made = sentences([9], [2])
  assert packed(made, 9, "documents") == [[0, *range(10, 18)], [0, 18, 2]]
  # Exactly full is not too long.
  assert len(packed(sentences([8, 8]), 9, "documents")) == 2
  assert len(packed(sentences([4, 4, 4]), 9, "documents")) == 2
  assert packed([], 9, "none") == packed([[], []], 9, "documents") == []


def reference_spans(documents_sizes, room, whole_documents):
  """The reference's rule on sizes alone: [start, end) in the token stream."""
  sizes, spans, start, size = [], [], 0, 0
  for number, document in enumerate(documents_sizes):
    sizes += ([1] if number else []) + document
  i = 0
  while i < len(sizes):
    end_of_document = whole_documents and sizes[i] == 1
    if (size + sizes[i] <= room or size == 0) and not end_of_document:
      size += sizes[i]
      i += 1
      continue
    spans.append((start, start + size))
    start, size = start + size, 0
    if end_of_document:
      start, i = start + 1, i + 1
  spans.append((start, start + size))
  cut = [(a, min(a + room, e)) for s, e in spans for a in range(s, e, room)]
  return [(a, e) for a, e in cut if e - a > 1]


@pytest.mark.parametrize("rule", ["documents", "complete"])
def test_rules_equal_the_reference(rule):
  rng = np.random.default_rng(0)
  for _ in range(200):
    sizes = [
      rng.integers(2, 15, rng.integers(1, 7)).tolist()
      for _ in range(rng.integers(1, 6))
    ]
    room = int(rng.integers(2, 20))
    made = sentences(*sizes)
    stream = [*made[0]]
    for document in made[1:]:
      stream += [[2], *document]
    stream = np.concatenate(stream)
    spans = reference_spans(sizes, room, rule == "documents")
    wanted = [[0, *stream[a:e].tolist()] for a, e in spans]
    assert packed(made, room + 1, rule) == wanted


def test_rule_errors():
  with pytest.raises(
    ValueError, match="unknown rule 'doc'; choose one of: complete, documents"
  ):
    packing.blocks([], 512, "doc")
  with pytest.raises(ValueError, match="block_size must be >= 3, got 2"):
    packing.blocks([], 2, "none")


def test_pack_tokenises(monkeypatch):
  monkeypatch.setattr(packing, "_CHUNK", 20)  # several chunks
  kjv = tokenizer.load(name="kjv")
  texts = [["And God said", "so it was"], [], ["<mask> the light"], ["a"]]
  made = [[np.append(kjv.encode(t), 2) for t in document] for document in texts]
  for rule in packing.RULES:
    blocks = packing.pack(iter(texts), kjv, 12, rule)
    wanted = packed([d for d in made if d], 12, rule)
    assert [blocks[i].tolist() for i in range(len(blocks))] == wanted
    assert blocks.lengths.tolist() == [len(block) for block in wanted]
    assert blocks[0].dtype == np.int32 and blocks.lengths.dtype == np.int64


def test_chunks_come_in_order_whichever_is_ready_first(monkeypatch):
  monkeypatch.setattr(packing, "_CHUNK", 20)
  encode_flat = tokenizer.Tokenizer.encode_flat

  def slower_for_long_ones(self, texts):
    time.sleep(0.05 * any(len(text) > 40 for text in texts))
    return encode_flat(self, texts)

  monkeypatch.setattr(tokenizer.Tokenizer, "encode_flat", slower_for_long_ones)
  kjv = tokenizer.load(name="kjv")
  texts = [["and " * (15 if i % 3 else 5), f"verse {i}"] for i in range(12)]
  made = list(packing.tokenized(iter(texts), kjv))
  assert [[x.tolist() for x in d] for d in made] == [
    [[*kjv.encode(t).tolist(), 2] for t in document] for document in texts
  ]


def test_tokenising_is_not_far_ahead_and_ends_with_its_caller(monkeypatch):
  monkeypatch.setattr(packing, "_CHUNK", 1)
  taken = []

  def documents():
    for i in range(100):
      taken.append(i)
      yield [f"document {i}"]

  made = packing.tokenized(documents(), tokenizer.load(name="kjv"))
  next(made)
  made.close()
  assert len(taken) <= 4
  assert not [t for t in threading.enumerate() if t.name.startswith("tokens")]


def test_an_error_of_a_document_is_raised(monkeypatch):
  monkeypatch.setattr(packing, "_CHUNK", 1)

  def documents():
    yield ["a"]
    raise ValueError("damaged")

  with pytest.raises(ValueError, match="damaged"):
    list(packing.tokenized(documents(), tokenizer.load(name="kjv")))


@pytest.mark.parametrize(("vocab_size", "width"), [(65_536, 2), (65_537, 4)])
def test_token_blocks(vocab_size, width):
  made = [[0, vocab_size - 1, 2], [0, 5, 6, 2]]
  blocks = packing.TokenBlocks(
    (np.array(b, np.int32) for b in made), vocab_size
  )
  assert len(blocks._flat.tobytes()) == width * 7
  for some in (blocks, pickle.loads(pickle.dumps(blocks))):
    assert [some[i].tolist() for i in range(len(some))] == made
  assert len(packing.TokenBlocks([], vocab_size)) == 0


@pytest.fixture
def text(tmp_path):
  path = tmp_path / "verses.txt"
  lines = [x for d in sources.Kjv("test").documents() for x in d][:60]
  path.write_text("\n".join([*lines[:40], "", *lines[40:]]))
  return path


def command(tmp_path, text, *more):
  args = [str(tmp_path / "tokens"), str(text), "--tokenizer=kjv"]
  return packing.main([*args, "--block_size=64", *more])


@pytest.mark.parametrize("rule", packing.RULES)
def test_cache_round_trip(tmp_path, text, rule, capsys):
  assert command(tmp_path, text, f"--rule={rule}") == 0
  source = sources.SOURCES["tokens"](tmp_path / "tokens")
  lines = TextFiles(text).documents()
  wanted = packing.pack(lines, tokenizer.load(name="kjv"), 64, rule)
  assert len(source) == len(wanted) > 10
  for some in (source, pickle.loads(pickle.dumps(source))):
    for i in range(len(wanted)):
      assert some[i]["tokens"].dtype == np.int32
      np.testing.assert_array_equal(some[i]["tokens"], wanted[i])
      assert (some[i]["requested"], some[i]["record"]) == (i, i)
  np.testing.assert_array_equal(source.lengths, wanted.lengths)
  assert source.lengths.dtype == np.int64
  assert (source.block_size, source.rule) == (64, rule)
  assert source.vocab_size == 2000
  assert source.record_name(3) == f"{tmp_path / 'tokens'}[3]"
  assert f"{len(wanted)} blocks, {sum(wanted.lengths):,} tok" in (
    capsys.readouterr().out
  )


def test_tokenizer_by_path(tmp_path, text):
  tokenizer.train(["and"], 261).save(tmp_path / "t.json")
  args = [str(tmp_path / "out"), str(text), "--tokenizer"]
  assert packing.main([*args, str(tmp_path / "t.json")]) == 0
  assert token_cache.Tokens(tmp_path / "out").vocab_size == 261


def test_an_existing_folder_is_not_replaced(tmp_path, text, capsys):
  assert command(tmp_path, text) == 0
  before = (tmp_path / "tokens" / "tokens.json").read_text()
  assert command(tmp_path, text, "--rule=none") == 2
  assert "replace it with --force" in capsys.readouterr().err
  assert (tmp_path / "tokens" / "tokens.json").read_text() == before
  assert command(tmp_path, text, "--rule=none", "--force") == 0
  assert token_cache.Tokens(tmp_path / "tokens").rule == "none"


def test_force_spares_what_is_no_cache(tmp_path, text, capsys):
  (tmp_path / "tokens").mkdir()
  (tmp_path / "tokens" / "thesis.tex").write_text("mine")
  assert command(tmp_path, text, "--force") == 2
  assert "holds no packed tokens, so it is not" in capsys.readouterr().err
  assert (tmp_path / "tokens" / "thesis.tex").read_text() == "mine"


META = {
  "vocab_size": 300,
  "fingerprint": "f",
  "block_size": 8,
  "rule": "none",
}


def blocks_then(error):
  for i in range(5):
    yield np.array([0, i, 2], np.int32)
  if error is not None:
    raise error


@pytest.mark.parametrize("force", [False, True])
def test_an_interrupted_write_leaves_nothing_that_looks_complete(
  tmp_path, force
):
  out = tmp_path / "out"
  if force:
    token_cache.write(out, blocks_then(None), **META)
  with pytest.raises(KeyboardInterrupt):
    token_cache.write(
      out, blocks_then(KeyboardInterrupt()), force=force, **META
    )
  assert out.exists() == force
  if force:  # what was there still is
    assert len(token_cache.Tokens(out)) == 5
  with pytest.raises(ValueError, match=r"has no tokens.json, so it is not a"):
    token_cache.Tokens(tmp_path / "out.partial")
  token_cache.write(out, blocks_then(None), force=force, **META)
  assert len(token_cache.Tokens(out)) == 5
  assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_several_shards(tmp_path):
  out = tmp_path / "out"
  summary = token_cache.write(
    out, blocks_then(None), blocks_per_shard=2, **META
  )
  assert len(summary["shards"]) == 3 and summary["tokens"] == 15
  source = token_cache.Tokens(out)
  assert [source[i]["tokens"][1] for i in range(5)] == [0, 1, 2, 3, 4]
  (out / summary["shards"][1]).unlink()
  with pytest.raises(ValueError, match=r"files of .* are missing or damaged"):
    token_cache.Tokens(out)


def test_damaged_caches(tmp_path):
  out = tmp_path / "out"
  with pytest.raises(ValueError, match=r"has no tokens.json"):
    token_cache.Tokens(out)
  with pytest.raises(ValueError, match="gives no block of 2 tokens or more"):
    token_cache.write(out, [], **META)
  assert list(tmp_path.iterdir()) == []
  token_cache.write(out, blocks_then(None), **META)
  lengths = np.load(out / "lengths.npy")
  np.save(out / "lengths.npy", lengths[:-1])
  with pytest.raises(ValueError, match="missing or damaged"):
    token_cache.Tokens(out)
  summary = json.loads((out / "tokens.json").read_text())
  (out / "tokens.json").write_text(json.dumps(summary | {"format": 2}))
  with pytest.raises(
    ValueError, match="has format 2, and this version reads 1"
  ):
    token_cache.Tokens(out)
  (out / "tokens.json").write_text("{")
  with pytest.raises(ValueError, match=r"tokens.json is damaged"):
    token_cache.Tokens(out)


def test_progress_is_told(monkeypatch, capsys):
  monkeypatch.setattr(packing, "_REPORT_SECONDS", -1)
  assert len(list(packing._reported(blocks_then(None)))) == 5
  assert capsys.readouterr().err.splitlines()[-1] == "5 blocks, 15 tokens"


def test_command_errors(tmp_path, text, capsys):
  assert packing.main([str(tmp_path / "o"), "none", "--tokenizer=kjv"]) == 2
  assert "TextFiles: no text in 'none'" in capsys.readouterr().err
  assert packing.main([str(tmp_path / "o"), str(text), "--tokenizer=x"]) == 2
  assert "tokenizer: x does not exist" in capsys.readouterr().err
  assert not (tmp_path / "o").exists()
