import json

import pytest

from d2v_jax.interchange import model_card
from d2v_jax.interchange.huggingface import folder as huggingface
from tests.interchange import small_models


@pytest.fixture
def workdir(tmp_path):
  config = {
    "modality": "vision",
    "data": {"source": {"name": "folder", "path": "/home/me/secret/photos"}},
  }
  starts = [{"commit": "old"}, {"commit": "abc123", "versions": {"jax": "9"}}]
  run = {"config": config, "starts": starts}
  (tmp_path / "run.json").write_text(json.dumps(run))
  lines = [
    {"step": 5, "knn/accuracy": 0.25, "health/rank/output": 3.0},
    {"step": 9, "loss": 0.5, "health/rank/output": 4.0},
  ]
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (tmp_path / "metrics.jsonl").write_text(text)
  return tmp_path


def test_facts(workdir):
  facts = model_card.facts(workdir)
  assert facts["step"] == 5 and facts["metrics"] == {"knn/accuracy": 0.25}
  assert facts["commit"] == "abc123" and facts["versions"] == {"jax": "9"}
  evaluation = {"step": 9, "knn/accuracy": 0.5}
  (workdir / "evaluation.json").write_text(json.dumps(evaluation))
  facts = model_card.facts(workdir)
  assert facts["step"] == 9 and facts["metrics"] == {"knn/accuracy": 0.5}


def test_card(workdir):
  folder = workdir / "out"
  facts = model_card.facts(workdir)
  huggingface.write(folder, small_models.make("vision"), "student", facts)
  card = (folder / "README.md").read_text()
  for expected in (
    "license: fill in",
    "student of a d2v_jax run",
    "| Commit of d2v_jax | abc123 |",
    "| Versions | jax 9 |",
    "| knn/accuracy | 0.25 |",
    "| Step | 5 |",
    '"path": ".../photos"',
    "Data2VecVisionModel.from_pretrained(folder)",
  ):
    assert expected in card, expected
  assert "/home" not in card
  count = sum(x.size for x in _leaves(small_models.make("vision").params))
  assert f"{count:,}" in card


def test_a_card_of_an_unknown_run(tmp_path):
  model = small_models.make("speech", "ctc")
  huggingface.write(tmp_path / "out", model)
  card = (tmp_path / "out/README.md").read_text()
  assert "pipeline_tag: automatic-speech-recognition" in card
  assert "Trained on | not recorded" in card
  with pytest.raises(ValueError, match=r"no run.json"):
    model_card.facts(tmp_path)


def _leaves(tree):
  for value in tree.values():
    yield from _leaves(value) if isinstance(value, dict) else [value]
