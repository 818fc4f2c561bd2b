import json
import math
import pathlib

import pytest

from benchmarks import agreement, timing, train_step


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
  monkeypatch.chdir(pathlib.Path(__file__).parents[2])


@pytest.fixture
def measured(monkeypatch, tmp_path, optimized):
  # That would take seconds.
  peak = {clock: {"jax": 1e11} for clock in ("wall", "cpu")}
  monkeypatch.setattr(timing, "matmul_peak", lambda *args: peak)

  def run(model, *flags):
    out = tmp_path / "results" / "one.json"
    size = ("--batch", "2", "--seconds", "0.2", "--tokens", "16")
    arguments = ("--model", model, *size, "--repeats", "2")
    train_step.main([*arguments, *flags, "--out", str(out)])
    return json.loads(out.read_text())

  return run


def test_version_1(measured, capsys):
  found = measured("text_tiny", "--alone")
  assert list(found["wall"]) == list(found["cpu"]) == ["ours"]
  assert "agreement" not in found
  assert found["work"]["ours"]["masked_versions"] == 2
  assert "no peer was measured" in capsys.readouterr().out


@pytest.mark.parametrize(
  "model",
  [
    pytest.param("vit_tiny", marks=pytest.mark.slow),
    pytest.param("speech_tiny", marks=pytest.mark.slow),
    "text_tiny",
    pytest.param("vit_tiny_d2v2", marks=pytest.mark.slow),
  ],
)
def test_beside_pytorch(measured, model):
  pytest.importorskip("torch")
  pytest.importorskip("transformers")
  found = measured(model)  # an error if they do not compute the same
  assert list(found["wall"]) == ["ours", "eager"]
  assert found["agreement"]["student_change"] < 0.02
  assert found["machine"]["versions"]["torch"]


@pytest.mark.parametrize(
  ("model", "masks", "shape"),
  [
    pytest.param("vit_tiny_d2v2", 16, [2, 16, 39], marks=pytest.mark.slow),
    pytest.param("speech_tiny_d2v2", 8, [2, 8, 5], marks=pytest.mark.slow),
    pytest.param("text_tiny_d2v2", 8, [2, 8, 8], marks=pytest.mark.slow),
  ],
)
def test_version_2_beside_others(measured, capsys, model, masks, shape):
  found = measured(model, "--alone")
  names = ["ours", "version 1", "teacher for each mask"]
  for clock in ("wall", "cpu"):
    assert list(found[clock]) == names
    for name in names:
      assert len(found[clock][name]["rounds"]) == 2
      ratios = found[clock][name]["ratio_of_rounds"]
      assert 0 < ratios["min"] <= ratios["median"] <= ratios["max"]
    assert found[clock]["ours"]["ratio_of_medians"] == 1
  assert found["shapes"]["keep_ids"] == shape
  assert found["config"]["objective"]["name"] == "data2vec2"
  assert found["version_1_config"]["objective"]["name"] == "data2vec"
  work = [found["work"][name] for name in names]
  assert [w["examples"] for w in work] == [2, 2, 2]
  assert [w["masked_versions"] for w in work] == [2 * masks, 2, 2 * masks]
  for w in work:
    assert w["operations_per_example"] == w["operations"] / 2
    assert w["operations_per_masked_version"] == (
      w["operations"] / w["masked_versions"]
    )
  # One teacher pass is saved for each further mask.
  assert work[0]["operations"] < work[2]["operations"]
  ours, other = (found["agreement"][name] for name in ("ours", "other"))
  assert all(map(math.isfinite, (*ours[1], *other[1])))
  assert "No peer in PyTorch" in capsys.readouterr().out


def test_other_updates_are_not_timed():
  def of(loss, norm):
    return lambda: (loss, norm)

  found = agreement.of_two(of(2.0, 3.0), of(2.00001, 3.001), "float32")
  assert found == {
    "ours": [(2.0, 3.0), (2.0, 3.0)],
    "other": [(2.00001, 3.001), (2.00001, 3.001)],
  }
  with pytest.raises(ValueError, match="do not compute the same: loss differs"):
    agreement.of_two(of(2.0, 3.0), of(2.001, 3.0), "float32")
  with pytest.raises(ValueError, match=r"gradient norm differs by 0\.05"):
    agreement.of_two(of(2.0, 3.0), of(2.0, 2.857), "float32")
  agreement.of_two(of(2.0, 3.0), of(2.0, 2.857), "bfloat16")
