import gzip
import json
import pathlib

import pytest

from d2v_jax.data.files import bounded
from d2v_jax.data.tables import Table
from d2v_jax.data.text import tokenizer_files
from d2v_jax.data.text.text_files import TextFiles
from d2v_jax.decoding.arpa import Arpa


@pytest.mark.parametrize(
  ("content", "text"),
  [
    (b"[" * 100_000, "nested too deeply"),
    (b'{"a": ', "is not JSON"),
    (b'"\xff"', "is not JSON"),
    (b" " * 101, "has more than the 100 bytes that such a file may have"),
  ],
)
def test_json_that_cannot_be_meant(tmp_path, monkeypatch, content, text):
  path = tmp_path / "a.json"
  path.write_bytes(content)
  most = 100 if len(content) == 101 else 2**20
  with pytest.raises(ValueError, match=f"a.json .*{text}"):
    bounded.read_json(path, most)


def test_text_that_unpacks_to_what_no_text_does(tmp_path, monkeypatch):
  monkeypatch.setattr(bounded, "_UNPACKED", 10_000)
  text = "".join(f"{i} lines of a text\n" for i in range(2_000))
  good = tmp_path / "good.txt.gz"
  good.write_bytes(gzip.compress(text.encode()))
  assert len(TextFiles(str(good))) == 2_000
  bad = tmp_path / "bad.txt.gz"
  bad.write_bytes(gzip.compress(b"a line\n" * 10**6))
  refused = "it unpacks to more than [0-9]+ bytes, 200 times its size"
  with pytest.raises(ValueError, match=rf"bad.txt.gz: {refused}"):
    len(TextFiles(str(bad)))
  table = tmp_path / "bad.csv.gz"
  table.write_bytes(gzip.compress(b"path,a\n" + b"b,c\n" * 10**6))
  with pytest.raises(ValueError, match=rf"bad.csv.gz: {refused}"):
    Table(str(table))
  arpa = tmp_path / "bad.arpa.gz"
  arpa.write_bytes(gzip.compress(b"\n" * 10**7))
  with pytest.raises(ValueError, match=rf"bad.arpa.gz: {refused}"):
    Arpa(arpa)


BPE = {
  "pre_tokenizer": {"type": "ByteLevel"},
  "model": {"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
}


def written(folder, **changes):
  path = pathlib.Path(folder, "tokenizer.json")
  model = {**BPE["model"], **changes.pop("model", {})}
  path.write_text(json.dumps({**BPE, "model": model, **changes}))
  return path


@pytest.mark.parametrize(
  ("changes", "text"),
  [
    ({"pre_tokenizer": ["ByteLevel"]}, "is not byte-level BPE"),
    ({"added_tokens": {"content": "a"}}, "added_tokens a list of objects"),
    ({"added_tokens": ["a"]}, "added_tokens a list of objects"),
    ({"added_tokens": [{"content": "a"}]}, "added_tokens a list of objects"),
    ({"model": {"merges": {"a": "b"}}}, "model.merges must be a list"),
    ({"model": {"merges": [7]}}, "a merge must be two pieces .*, got 7"),
    ({"model": {"merges": [["a", 7]]}}, "two pieces .*, got 'a 7'"),
    ({"model": {"merges": [["a", "\ud800"]]}}, "a merge must be two pieces"),
    ({"model": {"vocab": ["a"]}}, "must hold an object token -> id"),
    ({"model": {"vocab": {"a": "0"}}}, "the id of 'a' must be a whole number"),
    ({"model": {"vocab": {"a": True}}}, "the id of 'a' must be a whole number"),
  ],
)
def test_types_in_a_tokenizer_are_checked(tmp_path, changes, text):
  with pytest.raises(ValueError, match=rf"tokenizer.json.*{text}"):
    tokenizer_files.read(written(tmp_path, **changes))


def test_a_tokenizer_of_too_many_merges_is_refused(tmp_path, monkeypatch):
  assert len(tokenizer_files.read(written(tmp_path))[1]) == 1
  monkeypatch.setattr(tokenizer_files, "_MOST", 3)
  path = written(tmp_path, model={"merges": ["a b"] * 4})
  with pytest.raises(ValueError, match="has 4 merges, more than the 3 that a"):
    tokenizer_files.read(path)
  path.unlink()
  (tmp_path / "vocab.json").write_text(json.dumps(BPE["model"]["vocab"]))
  (tmp_path / "merges.txt").write_text("a b\n" * 4)
  with pytest.raises(ValueError, match=r"merges.txt has 4 lines, more than"):
    tokenizer_files.read(tmp_path)
