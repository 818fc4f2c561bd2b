import pickle
import tracemalloc

import pytest
from etils import epath

from d2v_jax.data import table_files
from d2v_jax.data.columns import Below, Made, Rows, TextColumn, TextsBuilder
from d2v_jax.data.speech.manifest import Manifest
from d2v_jax.data.tables import Table

SOME = ["a", "", "Grüße", "caf\udce9.wav", "\ud800", "b" * 300, ""]


@pytest.mark.parametrize("times", [1, 5000])
def test_texts_are_a_sequence(times):
  expected = SOME * times
  texts = TextColumn(iter(expected))
  for some in (texts, pickle.loads(pickle.dumps(texts))):
    assert len(some) == len(expected)
    assert list(some) == expected
    assert [some[i] for i in (0, 3, -1, -2)] == [
      expected[i] for i in (0, 3, -1, -2)
    ]
    assert list(some[2:9:2]) == expected[2:9:2]
  with pytest.raises(IndexError):
    texts[len(expected)]


def test_no_texts():
  assert list(TextColumn()) == [] and len(TextColumn([])) == 0


def test_texts_take_four_bytes_beside_their_own():
  assert TextColumn(["abc", "de"] * 50_000).nbytes == 250_000 + 4 * 100_000


def test_builder():
  builder = TextsBuilder()
  builder.extend(["a", "ß"])
  builder.extend_empty(2)
  builder.extend(["c"])
  assert len(builder) == 5
  assert list(builder.texts()) == ["a", "ß", "", "", "c"]


def test_rows():
  rows = Rows({"a": TextColumn(["1", "2", "3"]), "b": ["x", "y", "z"]}, 3)
  expected = [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}, {"a": "3", "b": "z"}]
  assert list(rows) == expected
  assert rows[-1] == expected[2] and list(rows[1:]) == expected[1:]
  assert list(Rows({}, 2)) == [{}, {}] and Rows({}, 2)[1] == {}


def test_made():
  paths = Made(Below("root/a"), TextColumn(["b.wav", "/c.wav"]))
  for some in (paths, pickle.loads(pickle.dumps(paths))):
    assert list(some) == ["root/a/b.wav", "/c.wav"]
    assert some[-1] == "/c.wav" and list(some[:1]) == ["root/a/b.wav"]


def write_manifest(path, rows):
  lines = "".join(
    f"speakers/{i % 700:05d}/utterance_{i:07d}.flac\t{i + 1}\t16000\t{i % 9}\n"
    for i in range(rows)
  )
  path.write_text("path\tnum_samples\trate\tlabel\n" + lines)
  (path.parent / "speakers/00000").mkdir(parents=True, exist_ok=True)
  (path.parent / "speakers/00000/utterance_0000000.flac").write_bytes(b"")
  return len(lines)


def test_a_manifest_takes_little_memory(tmp_path, monkeypatch):
  monkeypatch.setattr(table_files, "_AT_ONCE", 500)
  path = tmp_path / "m.tsv"
  write_manifest(path, 10)
  Manifest(str(path), label="label")  # what is imported is not counted
  size = write_manifest(path, 20_000)
  tracemalloc.start()
  manifest = Manifest(str(path), label="label")
  now, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  # Beside the text four ends and a label of each row; two numbers of it twice.
  assert now < size + 20_000 * (4 * 4 + 8 + 2 * 8 + 8) + 3e5
  # 150 MB for a million rows, and what does not grow.
  assert peak < 3e6 + 1e6
  i = 18_765
  name = f"speakers/{i % 700:05d}/utterance_{i:07d}.flac"
  assert manifest.record_name(i) == str(tmp_path / name)
  assert manifest.header(i) == (i + 1, 16000)
  assert len(pickle.dumps(manifest)) < now + 3e5  # what a worker gets


def test_a_long_table_is_its_bytes_and_where_they_end(tmp_path):
  size = write_manifest(tmp_path / "m.tsv", 100_000)
  rows = Table(epath.Path(tmp_path / "m.tsv")).rows
  held = sum(texts.nbytes for texts in rows.columns.values())
  assert held == size - 4 * 100_000 + 4 * 4 * 100_000  # tabs are not kept
