from d2v_jax.evaluators.features import Features
from d2v_jax.evaluators.knn import Knn
from d2v_jax.evaluators.linear_probe import LinearProbe
from d2v_jax.evaluators.references import standing

LABELS = {
  **{"classes": 10.0, "train": 1000.0, "test": 500.0},
  **{"majority": 0.104, "chance": 0.1, "unequal": 0.0},
}


def said(mine, others, evaluator=None, labels=LABELS, grid=(4, 4), **metrics):
  evaluator = evaluator or LinearProbe()
  return standing.lines(
    {"linear_probe": evaluator},
    {"linear_probe": {"accuracy": mine, **metrics}},
    labels,
    {"linear_probe": {k: {"accuracy": v} for k, v in others.items()}},
    grid,
  )


def test_what_is_better_is_said_without_advice():
  assert said(0.9, {"untrained": 0.5, "pixels": 0.75}) == [
    "learned features on 500 test examples of 10 classes (chance 0.100, most "
    "frequent class 0.104):",
    "  linear_probe: accuracy 0.900; untrained encoder 0.500, pixels 0.750",
  ]


def test_what_is_no_better_has_advice():
  *_, last = said(0.6, {"untrained": 0.6, "pixels": 0.75, "pixels_pooled": 0.4})
  assert last == (
    "  These features do not beat untrained encoder and pixels. To try: let it "
    "choose how features are read (config.evaluation.evaluators.linear_probe."
    "features={'layers': 'all', 'pool': ('mean', 'mean_std', 'cells:2', "
    "'tokens')}); train longer or on more data; begin with existing weights "
    "(config.init_from)."
  )
  *_, many = said(0.6, {"pixels": 0.75}, grid=(14, 14))
  assert "('mean', 'mean_std', 'cells:2')})" in many


def test_what_chance_may_do_is_no_victory():
  # One standard error of the difference is 0.027.
  *_, last = said(0.75, {"pixels": 0.70})
  assert "beat pixels by no more than chance may do with 500 examples" in last
  assert len(said(0.76, {"pixels": 0.70})) == 2


def test_tokens_in_time_have_segments():
  *_, last = said(0.1, {"tf_idf": 0.5}, grid=())
  assert "('mean', 'mean_std', 'segments:4', 'segments:8')})" in last


def test_what_was_chosen_from_is_not_advised():
  knn = Knn(features=Features(layers="all", pool=("mean", "mean_std")))
  *_, last = said(0.1, {"tf_idf": 0.5}, knn)
  assert "To try: train longer or" in last


def test_of_unequal_classes_the_balanced_accuracy():
  lines = standing.lines(
    {"knn": Knn()},
    {"knn": {"accuracy": 0.9, "balanced_accuracy": 0.5}},
    {**LABELS, "unequal": 1.0},
    {"knn": {"pixels": {"accuracy": 0.8, "balanced_accuracy": 0.6}}},
    (4, 4),
  )
  assert "  knn: balanced accuracy 0.500; pixels 0.600" in lines
  assert any("classes are unequal" in line for line in lines)
  assert "do not beat pixels" in lines[-1]


def test_without_references():
  assert said(0.9, {})[1:] == ["  linear_probe: accuracy 0.900"]
