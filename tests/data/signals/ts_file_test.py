import numpy as np
import pytest

from d2v_jax.data.signals.ts_file import TsFile

HEADER = "#Of two sensors.\n@problemName Two\n@timeStamps false\n"
CLASSES = "@classLabel true walk run\n@data\n"


def written(folder, text):
  (folder / "a.ts").write_text(text)
  return str(folder / "a.ts")


def test_signals_and_classes(tmp_path):
  lines = "1,2,3:4,5,?:run\n\n6:7:walk\n"
  path = written(tmp_path, HEADER + CLASSES + lines)
  source = TsFile(path, rate=10.0)
  assert source.class_names == ("walk", "run") and source.labels == [1, 0]
  assert source.sizes.tolist() == [3, 1]
  np.testing.assert_array_equal(
    source[0]["signal"], [[1, 4], [2, 5], [3, np.nan]]
  )
  assert source[1]["label"] == 0 and source.rates.tolist() == [10, 10]
  assert source.record_name(1) == f"{path}[1]"


def test_numbers_and_no_labels(tmp_path):
  scores = HEADER + "@targetLabel true\n@DATA\n1,2:0.5\n3,4:1.5\n"
  source = TsFile(written(tmp_path, scores))
  assert source.labels == [0.5, 1.5] and source.class_names == ()
  loud = HEADER + "@classLabel TRUE 1 2\n@data\n3:2\n"
  source = TsFile(written(tmp_path, loud))
  assert source.labels == [1] and source[0]["signal"].tolist() == [[3]]
  plain = HEADER + "@classLabel false\n@data\n1,2\n"
  source = TsFile(written(tmp_path, plain))
  assert source.labels is None and source[0]["signal"].shape == (2, 1)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    (HEADER, "has no line @data; it is no .ts file"),
    (HEADER + CLASSES, "has no signals after @data"),
    (HEADER + CLASSES + "1,2:3:run\n", r"a.ts:6: its channels have \[2, 1\]"),
    (HEADER + CLASSES + "1,a:run\n", "a.ts:6: 'a' is not a number"),
    (HEADER + CLASSES + "1,2:fly\n", "label 'fly' is not among the classes"),
    ("@timeStamps true\n" + CLASSES + "(1,2):run\n", "has time stamps, which"),
  ],
)
def test_what_is_refused(tmp_path, text, message):
  with pytest.raises(ValueError, match=message):
    TsFile(written(tmp_path, text))


def test_no_file():
  with pytest.raises(ValueError, match=r"no such file: 'none.ts'"):
    TsFile("none.ts")
