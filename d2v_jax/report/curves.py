"""Sections of what a run has logged: training, evaluations, health, cost."""

from collections.abc import Callable, Sequence

from d2v_jax.report.chart import Line, chart
from d2v_jax.report.heat_map import heat_map
from d2v_jax.report.markup import Element, tag
from d2v_jax.report.page import Section, missing, note
from d2v_jax.report.parts import by_part, verdicts
from d2v_jax.report.stored import Stored
from d2v_jax.training.logs import metric_names

# What tells how a step went, beside the loss and what it is made of.
HEALTH = (
  "target_std",
  "prediction_std",
  "target_position_share",
  "grad_norm",
  "param_norm",
  "skipped",
  "health/explained/all",
  "health/explained/content",
  "health/explained/content_held_out",
)
COST = ("examples_per_sec", "peak_fraction", "input_wait")
_RATES = ("lr", "ema_decay")
_WORDS = {
  "lr": "learning rate",
  "ema_decay": "decay of the teacher",
  "target_std": "standard deviation of targets",
  "prediction_std": "standard deviation of predictions",
  "target_position_share": "share of position in targets",
  "grad_norm": "norm of the gradient",
  "param_norm": "norm of the parameters",
  "skipped": "steps that were skipped",
  "health/explained/all": "share of the targets' variance explained",
  "health/explained/content": "of what position does not explain",
  "health/explained/content_held_out": "the same, of held-out examples",
  "examples_per_sec": "examples per second",
  "peak_fraction": "share of the devices' peak",
  "input_wait": "share of time waiting for input",
}
# Of references, as a chart has room for it.
REFERENCES = {
  "untrained": "untrained",
  "pixels": "pixels",
  "pixels_pooled": "pooled pixels",
  "log_mel": "log-mel",
  "log_mel_pooled": "pooled log-mel",
  "channels": "channels",
  "channels_pooled": "pooled channels",
  "tf_idf": "TF-IDF",
}


def training(runs: Sequence[Stored]) -> Section:
  """Loss and what goes with it over steps."""
  return _section("Training", runs, is_training)


def health(runs: Sequence[Stored]) -> Section:
  """What shows a collapse, and what evaluators measured of each layer."""
  made = _charts(runs, lambda name: name in HEALTH)
  several = len(runs) > 1
  maps = [x for run in runs for x in by_part(run, several)]
  maps += [x for run in runs for x in _by_layer(run, several)]
  content = verdicts(runs)
  if made:
    content.append(tag("div", *made, class_="charts"))
  if maps:
    content.append(tag("div", *maps, class_="charts"))
  else:
    content.append(
      note(
        "Nothing was measured of single layers: config.health.every=0, or the "
        "run is of before there was such a thing."
      )
    )
  return Section("Health", tuple(content))


def evaluations(runs: Sequence[Stored]) -> Section:
  """What evaluators measured, beside what it is compared with."""
  once = [
    name for run in runs for name in run.names if metric_names.is_result(name)
  ]
  if once and not any(len(run.points(x)) > 1 for run in runs for x in once):
    return missing(
      "Evaluations",
      "All was measured once, so there are no curves; Results has the numbers.",
    )
  return _section("Evaluations", runs, metric_names.is_result)


def speed(runs: Sequence[Stored]) -> list[Element]:
  """Charts of how fast runs went."""
  return _charts(runs, lambda name: name in COST)


def words(name: str) -> str:
  """A metric in words."""
  return _WORDS.get(name, name.replace("/", ": ").replace("_", " "))


def is_training(name: str) -> bool:
  """Whether a metric is of the loss, or of what it depends on."""
  return "/" not in name and name not in (*HEALTH, *COST)


def references(run: Stored, name: str) -> dict[str, float]:
  """What a metric is compared with: reference -> value."""
  evaluator, _, metric = name.partition("/")
  return {
    REFERENCES.get(reference, reference): values[metric]
    for reference, values in run.references.get(evaluator, {}).items()
    if metric in values
  }


def _section(
  title: str, runs: Sequence[Stored], wanted: Callable[[str], bool]
) -> Section:
  made = _charts(runs, wanted)
  if made:
    return Section(title, (tag("div", *made, class_="charts"),))
  return missing(title, f"metrics.jsonl has nothing of this: {_why(runs)}.")


def _why(runs: Sequence[Stored]) -> str:
  if not any(run.lines for run in runs):
    return "nothing was trained here, or it was not logged yet"
  return "config.evaluation has no evaluators, or none was due yet"


def _charts(
  runs: Sequence[Stored], wanted: Callable[[str], bool]
) -> list[Element]:
  names = dict.fromkeys(
    name for run in runs for name in run.names if wanted(name)
  )
  made = []
  for name in sorted(names, key=_order):
    lines = [
      Line(run.label, run.points(name)) for run in runs if run.points(name)
    ]
    if lines:
      compared = references(runs[0], name) if len(runs) == 1 else {}
      log = False if name in _RATES else None
      made.append(chart(words(name), lines, compared, log))
  return made


def _order(name: str) -> tuple[bool, bool, str]:
  """The loss first, what a schedule says last."""
  return name != "loss", name in _RATES, name


def _by_layer(run: Stored, several: bool) -> list[Element]:
  """A map over steps and layers of each kind of output measured by layer."""
  kinds: dict[str, list[str]] = {}
  for name in run.names:
    if kind := metric_names.of_layer(name):
      kinds.setdefault(kind, []).append(name)
  made = []
  for kind, names in sorted(kinds.items()):
    final = f"{kind.partition('/')[0]}/final"
    rows = {f"layer {int(name[-2:])}": run.points(name) for name in names}
    if run.points(final):
      rows["final"] = run.points(final)
    if all(rows.values()):
      title = f"{words(kind.strip('/'))} by layer"
      made.append(heat_map(f"{run.label}: {title}" if several else title, rows))
  return made
