import csv
import gzip
import io
import json
import os
import pathlib
import re
import tempfile

import hypothesis
import pyarrow
import pyarrow.parquet
import pytest
from etils import epath
from hypothesis import strategies

from d2v_jax.data.table_files import as_text, numbered_lines
from d2v_jax.data.table_files import read as read_rows

ROWS = [
  {"text": 'He said "stop" and left', "label": "neg"},
  {"text": '"Stop", he said', "label": "pos"},
  {"text": "a, b;\tc", "label": ""},
  {"text": "Grüße\u2028one value", "label": "1.5"},
]


def read(path, quotes=True):
  """Number and row of each."""
  rows, numbers = read_rows(path, quotes)
  return list(zip(numbers.tolist(), rows, strict=True))


def written(path, rows, **options):
  """Writes with Python's own csv, as pandas does."""
  text = io.StringIO()
  table = csv.DictWriter(text, rows[0], lineterminator="\n", **options)
  table.writeheader()
  table.writerows(rows)
  path.write_bytes(text.getvalue().encode())
  return epath.Path(path)


def test_tables_of_every_kind_hold_the_same(tmp_path):
  comma = written(tmp_path / "a.CSV", ROWS)
  tab = written(tmp_path / "a.tsv", ROWS, delimiter="\t")
  all_quoted = written(tmp_path / "b.csv", ROWS, quoting=csv.QUOTE_ALL)
  windows = tmp_path / "c.csv"
  windows.write_bytes(
    b"\xef\xbb\xbf" + comma.read_bytes().replace(b"\n", b"\r\n")
  )
  zipped = tmp_path / "d.csv.gz"
  zipped.write_bytes(gzip.compress(comma.read_bytes()))
  lines = tmp_path / "e.jsonl"
  lines.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
  parquet = tmp_path / "f.parquet"
  pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), parquet)
  for path in (comma, tab, all_quoted, windows, zipped, lines, parquet):
    found = read(epath.Path(path))
    assert [row for _, row in found] == ROWS, path
    first = 1 if path in (lines, parquet) else 2
    assert [number for number, _ in found] == list(range(first, first + 4))


def test_values_of_csv_have_several_lines(tmp_path):
  rows = [{"text": "one\n\ntwo", "n": "1"}, {"text": "x" * 200_000, "n": "2"}]
  path = written(tmp_path / "a.csv", rows)
  assert read(path) == [(2, rows[0]), (5, rows[1])]
  with pytest.raises(
    ValueError, match=r"a.tsv:2: a value that begins with a q"
  ):
    read(written(tmp_path / "a.tsv", rows, delimiter="\t"))


def test_quotes_that_are_characters(tmp_path):
  path = epath.Path(tmp_path / "a.tsv")
  path.write_text('text\tlabel\n"Stop," he said.\tpos\n"Go\tneg\n')
  for number in (2, 3):
    with pytest.raises(
      ValueError, match=f"a.tsv:{number}: .* set quotes=False"
    ):
      read(path)
    path.write_text('text\tlabel\nStop\tpos\n"Go\tneg\n')
  path.write_text('text\tlabel\n"Stop," he said.\tpos\n"Go\tneg\n')
  assert [row["text"] for _, row in read(path, quotes=False)] == [
    '"Stop," he said.',
    '"Go',
  ]


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("a;b\n1;2\n", r"parted by commas, but the header is 'a;b'; write it with"),
    ('a,b\n1,"2\n', "a.csv:2: not as .csv is written: unexpected end of data"),
    ('a,b\n1,"2"3\n', "a.csv:2: not as .csv is written: ',' expected"),
    ('a,b\n1, "2"\n', "a.csv:2: not as .csv .*: a space in front of a quote"),
    ("a,b\n1,2\n3\n", "a.csv:3: 1 columns, but the header has 2; quote"),
    ("a,a\n1,2\n", "the header has a column twice: a, a"),
    ("", "has no rows"),
  ],
)
def test_csv_errors(tmp_path, text, message):
  path = epath.Path(tmp_path / "a.csv")
  path.write_text(text)
  with pytest.raises(ValueError, match=message):
    read(path)


def test_numbers_and_missing_values(tmp_path):
  for value, text in (
    *((None, ""), (float("nan"), ""), ("", "")),
    *((1, "1"), (1.0, "1"), (1.5, "1.5"), (True, "true")),
    *(("1.0", "1.0"), ("NA", "NA")),
  ):
    assert as_text(value) == text
  path = tmp_path / "a.parquet"
  columns = {"n": [1.0, None, 2.5], "i": [1, 2, None], "b": [True, None, False]}
  pyarrow.parquet.write_table(pyarrow.table(columns), path)
  assert [tuple(row.values()) for _, row in read(epath.Path(path))] == [
    ("1", "1", "true"),
    ("", "2", ""),
    ("2.5", "", "false"),
  ]


def test_parquet_errors(tmp_path):
  path = epath.Path(tmp_path / "a.parquet")
  path.write_bytes(b"PAR1 broken")
  with pytest.raises(ValueError, match=r"cannot read .*a.parquet: "):
    read(path)
  table = pyarrow.table({"image": [b"bytes"]})
  pyarrow.parquet.write_table(table, path)
  with pytest.raises(
    ValueError, match=r"a.parquet:1: 'image' must .* got bytes"
  ):
    read(path)


def test_names_of_files_are_bytes_and_texts_are_not(tmp_path):
  path = epath.Path(tmp_path / "a.csv")
  path.write_bytes(b"path,text\ncaf\xe9.wav,ok\n")
  assert read(path)[0][1]["path"] == os.fsdecode(b"caf\xe9.wav")
  path.write_bytes(b"path,text\ncafe.wav,caf\xe9\n")
  with pytest.raises(ValueError, match=r"a.csv:2: 'text' is not UTF-8: caf\\"):
    read(path)
  lines = epath.Path(tmp_path / "a.jsonl")
  lines.write_text(r'{"path": "caf\udce9.wav", "text": "half \ud83d"}')
  with pytest.raises(ValueError, match=r"a.jsonl:1: 'text' is not UTF-8: half"):
    read(lines)


def test_numbered_lines(tmp_path):
  path = epath.Path(tmp_path / "a.txt")
  path.write_bytes(b"\xef\xbb\xbfone\r\n\n\xe2\x80\xa8two\x0cthree")
  assert list(numbered_lines(path)) == [(1, "one"), (3, "\u2028two\x0cthree")]


VALUES = strategies.text(
  strategies.sampled_from(
    [*'ab1, \t"\n;.', "é", "\u2028", "\x0b", "\U0001f600"]
  ),
  max_size=6,
  # A value that is quoted behind a space is refused, as most are mistakes.
).filter(lambda value: not re.fullmatch(' +".*" *', value, re.DOTALL))


@hypothesis.settings(
  max_examples=80, deadline=None, derandomize=True, database=None
)
@hypothesis.given(
  strategies.lists(strategies.tuples(VALUES, VALUES), min_size=1, max_size=4)
)
def test_any_values_come_back(pairs):
  rows = [{"text": text, "label": label} for text, label in pairs]
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    assert [row for _, row in read(written(root / "a.csv", rows))] == rows
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (root / "a.jsonl").write_bytes(lines.encode())
    assert [row for _, row in read(epath.Path(root / "a.jsonl"))] == rows
    pyarrow.parquet.write_table(
      pyarrow.Table.from_pylist(rows), root / "a.parquet"
    )
    assert [row for _, row in read(epath.Path(root / "a.parquet"))] == rows
    tab = written(root / "a.tsv", rows, delimiter="\t")
    if not any("\n" in value for pair in pairs for value in pair):
      assert [row for _, row in read(tab)] == rows
    else:
      with pytest.raises(ValueError, match=r"a.tsv:\d+: "):
        read(tab)
