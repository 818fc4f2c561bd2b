import json

import numpy as np
import pytest

from d2v_jax.evaluators.effective_rank import EffectiveRank
from d2v_jax.evaluators.knn import Knn
from d2v_jax.evaluators.placed import one_device
from d2v_jax.evaluators.references import measure
from d2v_jax.models.vision import vit
from d2v_jax.training.evaluation import Evaluation
from d2v_jax.training.references import References
from tests.evaluators.references.measure_test import extractor

ENCODER = vit(image_size=8, patch_size=4, width=8, depth=1, num_heads=2)
RESULTS = {"knn/accuracy": 0.7, "rank/test": 3.0}


@pytest.fixture
def calls(monkeypatch):
  """What was measured, in order."""
  found = []

  def counted(name, result):
    def measured(evaluators, *_, **__):
      found.append(name)
      return {key: result for key in evaluators}

    return measured

  untrained, simple = {"accuracy": 0.2}, {"pixels": {"accuracy": 0.5}}
  monkeypatch.setattr(measure, "untrained", counted("untrained", untrained))
  monkeypatch.setattr(measure, "simple", counted("simple", simple))
  return found


def references(workdir, most=100, k=5, every=3, evaluators=None):
  y = np.arange(20) % 4
  x = np.zeros((20, 8, 8, 1), np.uint8)
  extract = extractor(ENCODER, {"train": (x, y), "test": (x, y)})
  extract.labels = {"train": y, "test": y}
  config = {
    "seed": 0,
    "encoder": {"width": 8},
    "evaluation": {"evaluators": {"knn": {"k": k}}, "every": every},
  }
  evaluation = Evaluation(
    evaluators or {"knn": Knn(k=k), "rank": EffectiveRank()},
    extract.batches,
    {"train": range(20), "test": range(20)},
    references=most,
  )
  return References(workdir, config, evaluation, ENCODER, extract, one_device())


def test_computed_once(tmp_path, calls):
  lines = references(tmp_path).lines(RESULTS)
  assert calls == ["untrained", "simple"]
  assert (
    "knn: accuracy 0.700; untrained encoder 0.200, pixels 0.500" in lines[1]
  )
  # What is measured is the same.
  assert references(tmp_path, every=5).lines(RESULTS) == lines
  assert calls == ["untrained", "simple"]
  (kept,) = json.loads((tmp_path / "references.json").read_text())
  assert kept["simple"] == {"knn": {"pixels": {"accuracy": 0.5}}}
  assert kept["seconds"] >= 0


def test_the_first_evaluation_is_that_of_an_untrained_encoder(tmp_path, calls):
  references(tmp_path).begun({"knn/accuracy": 0.3, "rank/test": 9.0})
  lines = references(tmp_path).lines(RESULTS)
  assert calls == ["simple"]
  assert "untrained encoder 0.300, pixels 0.500" in lines[1]


def test_of_another_evaluation_they_are_others(tmp_path, calls):
  references(tmp_path).lines(RESULTS)
  references(tmp_path, k=7).lines(RESULTS)
  assert calls == 2 * ["untrained", "simple"]
  references(tmp_path).lines(RESULTS)
  references(tmp_path, k=7).lines(RESULTS)
  assert len(calls) == 4


def test_much_to_learn_from_is_too_much(tmp_path, calls):
  kept = references(tmp_path, most=19)
  kept.begun({"knn/accuracy": 0.3})
  _, line, left_out, *rest = kept.lines(RESULTS)
  assert not calls and not rest
  assert line == "  knn: accuracy 0.700; untrained encoder 0.300"
  assert "20 training examples, more than" in left_out
  assert "config.evaluation.references=19" in left_out


def test_not_wanted(tmp_path, calls):
  references(tmp_path, most=0).begun(RESULTS)
  assert references(tmp_path, most=0).lines(RESULTS) == []
  other = references(tmp_path, evaluators={"rank": EffectiveRank()})
  other.begun({"rank/test": 9.0})
  assert other.lines({"rank/test": 3.0}) == []
  assert not calls and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  "damage",
  [b'[{"of": ', b'[{"of": "\xff"}]', b"3", b'[3, {"untrained": 4}]', None],
)
def test_a_file_that_is_damaged(tmp_path, calls, damage):
  file = tmp_path / "references.json"
  file.mkdir() if damage is None else file.write_bytes(damage)
  assert "pixels 0.500" in references(tmp_path).lines(RESULTS)[1]
  assert json.loads((tmp_path / "references.json").read_text())
