import numpy as np
import pytest

from d2v_jax.data.signals.long_table import LongTable

ROWS = [
  # id, t, x, y, what
  ("b", 0.0, 1, 2, "walk"),
  ("a", 0.0, 5, 6, "run"),
  ("b", 0.2, 3, 4, "walk"),
  ("b", 0.1, 7, 8, "walk"),
  ("a", 0.1, 9, "", "run"),
]


def table(folder, rows):
  lines = ["id,t,x,y,what", *(",".join(map(str, row)) for row in rows)]
  (folder / "all.csv").write_text("\n".join(lines) + "\n")
  return str(folder / "all.csv")


def test_rows_become_signals(tmp_path):
  path = table(tmp_path, ROWS)
  source = LongTable(path, "id", ("x", "y"), "t", label="what")
  assert source.sizes.tolist() == [3, 2]
  np.testing.assert_allclose(source.rates, 10)
  np.testing.assert_array_equal(source[0]["signal"], [[1, 2], [7, 8], [3, 4]])
  np.testing.assert_array_equal(source[1]["signal"], [[5, 6], [9, np.nan]])
  assert source.class_names == ("run", "walk") and source.labels == [1, 0]
  assert source.record_name(1) == f"{path}[a]"
  plain = LongTable(path, "id", ("y",), rate=20.0)
  np.testing.assert_array_equal(plain[0]["signal"], [[2], [4], [8]])
  assert plain.rates.tolist() == [20, 20] and "label" not in plain[0]


@pytest.mark.parametrize(
  ("row", "options", "message"),
  [
    (
      ("b", 0.9, 1, 2, "walk"),
      {"time": "t"},
      r"go on by 0.1 to 0.7 s, but sam",
    ),
    (("b", 0.3, 1, 2, "run"), {"label": "what"}, "has 2 different labels"),
    (("b", 0.3, "x1", 2, "walk"), {}, "'x' is 'x1', which is not a number"),
    (("b", 0.3, 1, 2, "walk"), {"id": "who"}, "has no column 'who'"),
    (("b", 0.3, 1, 2, "walk"), {"columns": ()}, "at least one channel"),
  ],
)
def test_what_is_refused(tmp_path, row, options, message):
  arguments = {"id": "id", "columns": ("x", "y"), **options}
  with pytest.raises(ValueError, match=message):
    LongTable(table(tmp_path, [*ROWS, row]), **arguments)
