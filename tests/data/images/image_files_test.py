import os
import pickle

import pytest

from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.images.image_files import ImageFiles, ImageTable
from tests.data.images.pictures import encoded, smooth
from tests.data.speech.recordings import write_files

FILES = {
  f"photos/{name}.png": encoded(smooth(4, 4, seed=k), "PNG")
  for k, name in enumerate(("a", "b", os.fsdecode(b"caf\xe9"), "d"))
}


@pytest.fixture
def folder(tmp_path):
  write_files(tmp_path, FILES)
  rows = [
    *("a.png,1,cat,train", "b.png,1.0,dog,train"),
    *(os.fsdecode(b"caf\xe9.png,2,cat,test"), "gone.png,3,eel,test"),
  ]
  text = "\n".join(["path,age,kind,split", *rows]) + "\n"
  (tmp_path / "photos/list.csv").write_bytes(os.fsencode(text))
  return tmp_path


def test_labels_come_from_any_column(folder):
  path = str(folder / "photos/list.csv")
  source = ImageTable(path, split="train", label="kind")
  assert source.class_names == ("cat", "dog", "eel")
  assert [source[i]["label"] for i in range(2)] == [0, 1]
  assert source[1]["image"] == FILES["photos/b.png"]
  assert source.record_name(1) == str(folder / "photos/b.png")
  assert pickle.loads(pickle.dumps(source))[0] == source[0]
  test = ImageTable(path, split="test")
  assert len(test) == 2 and set(test[0]) == {"image"}
  with pytest.raises(Unreadable, match="it is gone"):
    _ = test[1]
  with pytest.raises(ValueError, match=r"'age' has the classes '1', '1.0'"):
    ImageTable(path, label="age")


def test_root(folder):
  table = folder / "elsewhere.csv"
  table.write_bytes((folder / "photos/list.csv").read_bytes())
  with pytest.raises(
    ValueError, match=r"csv:2: no such file: .*a.png, nor thos"
  ):
    ImageTable(str(table))
  moved = ImageTable(
    str(table), str(folder / "photos"), exclude={"kind": "eel"}
  )
  assert [moved[i]["image"] for i in range(3)] == list(FILES.values())[:3]


def test_files_by_name(folder):
  names = [str(folder / name) for name in FILES]
  source = ImageFiles(names, [0, 1, 0, 1], ("x", "y"))
  assert [source[i]["label"] for i in range(4)] == [0, 1, 0, 1]
  assert source[2]["image"] == FILES[os.fsdecode(b"photos/caf\xe9.png")]
