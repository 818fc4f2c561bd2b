"""run.json outlives damage, and says what was lost."""

import pytest
from etils import epath

from d2v_jax.training.workdir import provenance


@pytest.mark.parametrize(
  "damage", [b"{", b"\xff\xfe", b"[]", b"", b'{"config": 3}', b'{"starts": []}']
)
def test_a_damaged_record_is_set_aside_and_a_new_one_begun(tmp_path, damage):
  workdir = epath.Path(tmp_path)
  provenance.record_start(workdir, {"seed": 1}, 0)
  assert provenance.read(workdir)["config"] == {"seed": 1}
  (tmp_path / "run.json").write_bytes(damage)
  with pytest.raises(ValueError, match=r"run\.json is damaged"):
    provenance.read(workdir)
  told = []
  provenance.record_start(workdir, {"seed": 1}, 8, told.append)
  assert told == [
    f"{tmp_path}/run.json is damaged: what it said of earlier starts is lost; "
    "set aside as run.json.damaged"
  ]
  assert (tmp_path / "run.json.damaged").read_bytes() == damage
  assert [x["step"] for x in provenance.read(workdir)["starts"]] == [8]


def test_each_start_is_added(tmp_path):
  workdir, told = epath.Path(tmp_path), []
  for step in (0, 4, 8):
    provenance.record_start(workdir, {"seed": 1}, step, told.append)
  assert [x["step"] for x in provenance.read(workdir)["starts"]] == [0, 4, 8]
  assert not told
