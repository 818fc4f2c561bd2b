"""The README.md of an exported model."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from d2v_jax.interchange.model import Model, resolved
from d2v_jax.interchange.weights import flatten
from d2v_jax.training import provenance

_PAPER = "[data2vec](https://arxiv.org/abs/2202.03555)"
_WHAT = {"vision": "images", "speech": "speech", "text": "text"}
_TASKS = {
  ("vision", "classification"): "image-classification",
  ("speech", "ctc"): "automatic-speech-recognition",
  ("speech", "classification"): "audio-classification",
  ("text", "classification"): "text-classification",
  ("text", "regression"): "text-classification",
}
_INPUTS = {
  "vision": """from transformers import AutoImageProcessor
processor = AutoImageProcessor.from_pretrained(folder)
batch = processor(images=image, return_tensors="pt")""",
  "speech": """from transformers import AutoFeatureExtractor
extractor = AutoFeatureExtractor.from_pretrained(folder)
batch = extractor(samples, sampling_rate=16_000, return_tensors="pt")""",
  "text": """from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(folder)
batch = tokenizer(text, return_tensors="pt")""",
}


def facts(workdir: epath.PathLike) -> dict[str, Any]:
  """What a run's folder tells about it, as far as it is there.

  Args:
    workdir: of the run.

  Returns:
    `config` of run.json; `commit` and `versions` of its last start; `step` and
    `metrics` of evaluation.json, or of the last evaluation in metrics.jsonl.

  Raises:
    ValueError: there is no run.json.
  """
  workdir = epath.Path(workdir)
  run = provenance.read(workdir)
  start = (run.get("starts") or [{}])[-1]
  found = {"config": run.get("config", {})}
  found |= {k: start[k] for k in ("commit", "versions") if start.get(k)}
  metrics = _evaluation(workdir)
  if metrics:
    found["step"] = metrics.pop("step", None)
    found["metrics"] = metrics
  return found


def text(
  model: Model,
  which: str,
  architecture: str,
  notes: Sequence[str],
  facts: Mapping[str, Any] | None,
) -> str:
  """The card, in Markdown.

  Folders in absolute paths are left out of it: they are nobody's business.

  Args:
    model: what was exported.
    which: 'teacher' or 'student'.
    architecture: class of transformers that opens it.
    notes: what a user must know.
    facts: as `facts` gives them, or None.
  """
  facts = _public(dict(facts or {}))
  objective = model.objective.get("name")
  config = facts.get("config", {})
  kind = (model.modality, objective or "")
  task = _TASKS.get(kind, "feature-extraction")
  count = sum(np.size(x) for x in flatten(model.params).values())
  made = f"fine-tuned ({objective})" if task != "feature-extraction" else ""
  sizes = {"Layers": "depth", "Width": "width", "Heads": "num_heads"}
  encoder = resolved(model.modality, model.encoder)
  source = config.get("data", {}).get("source")
  rows = {
    "What": f"{_PAPER} encoder of {_WHAT[model.modality]} {made}".strip(),
    "Weights": f"{which} of a d2v_jax run",
    "Parameters": f"{count:,} (the student's, with its head)",
    **{k: encoder[v] for k, v in sizes.items()},
    "Trained on": f"`{json.dumps(source)}`" if source else "not recorded",
    "Step": facts.get("step", "not recorded"),
    "Commit of d2v_jax": facts.get("commit", "not recorded"),
    "Versions": ", ".join(
      f"{k} {v}" for k, v in facts.get("versions", {}).items()
    )
    or "not recorded",
  }
  parts = [
    _front_matter(model.modality, task),
    f"# data2vec, {_WHAT[model.modality]}\n",
    _table(rows),
    "Licence: to be filled in by who publishes this, also above.\n",
    "## Use\n",
    _code(
      "python",
      f"from transformers import {architecture}\n{_INPUTS[model.modality]}\n"
      f"model = {architecture}.from_pretrained(folder).eval()\n"
      "outputs = model(**batch, output_hidden_states=True)",
    ),
    "`d2v convert import FOLDER RUN` makes a d2v_jax run of it "
    "again, with everything: `d2v_jax.json` and `d2v_jax.safetensors` hold "
    "what transformers has no place for.\n",
  ]
  if notes:
    parts += ["## Note\n", "".join(f"- {note}\n" for note in notes)]
  metrics = facts.get("metrics")
  if metrics:
    shown = {k: f"{v:.4g}" for k, v in metrics.items() if _is_number(v)}
    parts += ["## Evaluation\n", _table(shown)]
  if config:
    parts += ["## Config\n", _code("json", json.dumps(config, indent=2))]
  return "\n".join(parts)


def _evaluation(workdir):
  path = workdir / "evaluation.json"
  if path.exists():
    return json.loads(path.read_text())
  path, found = workdir / "metrics.jsonl", {}
  for line in path.read_text().splitlines() if path.exists() else ():
    values = json.loads(line)
    # Names of evaluators' metrics: evaluator/metric.
    values = {k: v for k, v in values.items() if k == "step" or "/" in k}
    if len(values) > 1:
      found = values
  return found


def _front_matter(modality, task):
  tags = ("data2vec", "d2v_jax", "jax", modality)
  return (
    "---\nlibrary_name: transformers\n"
    "# license: fill in before publishing\n"
    f"pipeline_tag: {task}\ntags:\n"
    + "".join(f"- {tag}\n" for tag in tags)
    + "---\n"
  )


def _table(rows):
  lines = [f"| {key} | {value} |\n" for key, value in rows.items()]
  return "".join(("| | |\n|---|---|\n", *lines))


def _code(language, content):
  return f"```{language}\n{content}\n```\n"


def _public(value):
  if isinstance(value, Mapping):
    return {k: _public(v) for k, v in value.items()}
  if isinstance(value, list | tuple):
    return [_public(v) for v in value]
  if isinstance(value, str) and value.startswith(("/", "~")):
    return f".../{value.rstrip('/').rsplit('/', 1)[-1]}"
  return value


def _is_number(value):
  return isinstance(value, int | float) and not isinstance(value, bool)
