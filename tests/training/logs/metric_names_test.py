"""Names of metrics of evaluators are told apart."""

from d2v_jax.training.logs import metric_names


def test_the_final_output_is_one_of_the_layers():
  assert metric_names.of_layer("position_share/final") == ""
  assert not metric_names.is_result("position_share/final")
  assert metric_names.of_layer("position_share/ffn_03") == "position_share/ffn"
  assert metric_names.of_layer("layer_curve/layer_03") == "layer_curve/layer"
  assert metric_names.of_layer("knn/accuracy") is None


def test_results_come_with_accuracies_first():
  names = [
    "effective_rank/test",
    "knn/best_layer",
    "linear_probe/accuracy",
    "linear_probe/accuracy_low",
    "linear_probe/balanced_accuracy",
    "linear_probe/learning_rate",
    "linear_probe/train_accuracy",
    "linear_probe/validation_accuracy_cells:2",
    "position_share/block_00",
    "wer/wer",
    "loss",
  ]
  assert metric_names.results_first(names) == [
    "linear_probe/accuracy",
    "linear_probe/balanced_accuracy",
    "effective_rank/test",
    "wer/wer",
  ]


def test_what_is_measured_of_parts_is_no_result():
  for name in ("health/rank/block_00", "health/verdict/memorising"):
    assert not metric_names.is_result(name)
    assert metric_names.of_layer(name) is None
  assert metric_names.of_part("health/rank/block_00") == ("rank", "block_00")
  # An evaluator may be called so.
  assert metric_names.of_part("health/accuracy") is None
  assert metric_names.is_result("health/accuracy")
