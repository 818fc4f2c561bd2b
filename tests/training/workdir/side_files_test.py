import pytest
from etils import epath

from d2v_jax.training.workdir import side_files


def test_what_is_set_aside_keeps_its_name_and_never_hides_another(tmp_path):
  path = epath.Path(tmp_path) / "x.json"
  names = []
  for text in ("one", "two", "three"):
    path.write_text(text)
    names.append(side_files.set_aside(path).name)
  assert names == ["x.json.damaged", "x.json.damaged-1", "x.json.damaged-2"]
  assert [(tmp_path / n).read_text() for n in names] == ["one", "two", "three"]
  assert not path.exists()


@pytest.mark.parametrize("name", ["x.json", "x.json.tmp"])
def test_a_folder_in_the_place_of_a_file_is_set_aside(tmp_path, name):
  (tmp_path / name).mkdir()
  (tmp_path / name / "inside").write_text("kept")
  side_files.replace(epath.Path(tmp_path) / "x.json", "new")
  assert (tmp_path / "x.json").read_text() == "new"
  assert (tmp_path / f"{name}.damaged" / "inside").read_text() == "kept"
