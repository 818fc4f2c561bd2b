import json

import pytest

from d2v_jax.data.text import documents


def test_tables_and_plain_text_in_order(tmp_path):
  rows = [
    {"q": "a\nb", "split": "train"},
    {"q": "d", "split": "test"},
  ]
  table = tmp_path / "rows.jsonl"
  table.write_text("".join(json.dumps(row) + "\n" for row in rows))
  plain = tmp_path / "a.txt"
  plain.write_text("one\ntwo\n\nthree\n")
  found = documents.read([str(table), str(plain)], "q", "train")
  assert list(found) == [["a", "b"], ["one", "two"], ["three"]]
  with pytest.raises(ValueError, match="no text in"):
    documents.read([str(table), "none"], "q")
