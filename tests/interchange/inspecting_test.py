"""What a source holds, and what is in its way."""

import numpy as np
import pytest

from d2v_jax.interchange import command
from tests.interchange.fairseq import checkpoints, checkpoints2
from tests.interchange.folders import edit
from tests.interchange.torch_file import torch_files


def inspect(capsys, *arguments):
  assert command.main(["inspect", *map(str, arguments)]) == 0
  return capsys.readouterr().out


def test_a_file(tmp_path, capsys):
  path = tmp_path / "a.pt"
  state = checkpoints.text() | {"optimizer": [np.zeros((2, 3), np.float16)]}
  torch_files.save(path, state)
  out = inspect(capsys, path)
  assert "a file that torch.save wrote" in out
  assert "\nmodel: " in out and " numbers (float32" in out
  assert "\noptimizer: 1 arrays, 6 numbers (float16)" in out
  assert "model: data2vec_text of fairseq, pretrained" in out
  assert out.endswith("can be imported\n")
  assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.slow
def test_an_option_that_is_in_the_way(tmp_path, capsys):
  path = tmp_path / "a.pt"
  state = checkpoints2.pretrained("image", d2v_loss=0.5)
  torch_files.save(path, state)
  out = inspect(capsys, path)
  assert "\ncannot be imported: " in out and "model.d2v_loss=0.5" in out
  assert out.endswith("as an encoder alone it can be: --encoder_only\n")
  assert inspect(capsys, path, "--encoder_only").endswith("can be imported\n")


def test_a_folder(exported, capsys):
  folder = exported("text")
  out = inspect(capsys, folder)
  assert "a Hugging Face folder\nfiles: README.md, config.json, " in out
  assert "holds " in out and out.endswith("can be imported\n")
  edit(folder, hidden_act="relu")
  out = inspect(capsys, folder)
  assert "cannot be imported: " in out and "config.hidden_act='relu'" in out


def test_what_cannot_be_read(tmp_path, capsys):
  (tmp_path / "a.pt").write_text("nothing of the kind")
  assert command.main(["inspect", str(tmp_path / "a.pt")]) == 2
  assert "a.pt" in capsys.readouterr().err
