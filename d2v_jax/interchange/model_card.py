"""The README.md of an exported model."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from d2v_jax.data.files import bounded
from d2v_jax.interchange.model import Model, resolved
from d2v_jax.interchange.weights import flatten
from d2v_jax.training.logs import metric_names
from d2v_jax.training.workdir import provenance

_PAPERS = (
  "[data2vec](https://arxiv.org/abs/2202.03555)",
  "[data2vec 2.0](https://arxiv.org/abs/2212.07525)",
)
_WHAT = {"vision": "images", "speech": "speech", "text": "text"}
_TASKS = {
  ("vision", "classification"): "image-classification",
  ("vision", "multi_label"): "image-classification",
  ("speech", "ctc"): "automatic-speech-recognition",
  ("speech", "classification"): "audio-classification",
  ("speech", "multi_label"): "audio-classification",
  ("text", "classification"): "text-classification",
  ("text", "multi_label"): "text-classification",
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
# What the snippet ends with, for an encoder alone and by objective.
_FEATURES = "features = outputs.last_hidden_state{tokens}.mean(1)"
_RESULTS = {
  "classification": """numbers = outputs.logits.argmax(-1).tolist()
names = [model.config.id2label[number] for number in numbers]""",
  "multi_label": """classes = model.config.id2label
names = [[classes[k] for k in row.nonzero()[:, 0].tolist()]
         for row in outputs.logits > 0]""",
  "regression": "scores = outputs.logits[:, 0]",
  "ctc": """from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(folder)
texts = tokenizer.batch_decode(outputs.logits.argmax(-1))""",
}
_CARD = """---
library_name: transformers
# license: fill in before publishing
pipeline_tag: {task}
tags:
- data2vec
- d2v_jax
- jax
- {modality}
---

# data2vec, {what}

{table}
Licence: to be filled in by who publishes this, also above.

## Use

```python
from transformers import {architecture}
{inputs}
model = {architecture}.from_pretrained(folder{options}).eval()
outputs = model(**batch, output_hidden_states=True)
{result}
```
{alone}
`d2v convert import FOLDER RUN` makes a d2v_jax run of it again, with \
everything: `d2v_jax.json` and `d2v_jax.safetensors` hold what transformers \
has no place for.
"""
# Of networks that transformers has not, for which their own file is here.
_ALONE = """
transformers runs `{file}` of this folder, a network in plain PyTorch, which is
what `trust_remote_code` is for. It needs neither transformers nor d2v_jax:

```python
import sys
sys.path.insert(0, folder)
from {module} import {architecture}
model = {architecture}.from_pretrained(folder)
```
"""


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
  known = {"config": run.get("config", {})}
  known |= {k: start[k] for k in ("commit", "versions") if start.get(k)}
  metrics = _evaluation(workdir)
  if metrics:
    known["step"] = metrics.pop("step", None)
    known["metrics"] = metrics
  return known


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
  objective, modality = model.objective.get("name", ""), model.modality
  task = _TASKS.get((modality, objective))
  made = f" fine-tuned ({objective})" if task else ""
  count = sum(np.size(x) for x in flatten(model.params).values())
  encoder = resolved(modality, model.encoder)
  config = facts.get("config", {})
  source = config.get("data", {}).get("source")
  versions = [f"{k} {v}" for k, v in facts.get("versions", {}).items()]
  second = encoder["name"].startswith("visible_")
  rows = {
    "What": f"{_PAPERS[second]} encoder of {_WHAT[modality]}{made}",
    "Weights": f"{which} of a d2v_jax run",
    "Parameters": f"{count:,} (the student's, with its head)",
    "Layers": encoder["depth"],
    "Width": encoder["width"],
    "Heads": encoder["num_heads"],
    "Trained on": f"`{json.dumps(source)}`" if source else "not recorded",
    "Step": facts.get("step", "not recorded"),
    "Commit of d2v_jax": facts.get("commit", "not recorded"),
    "Versions": ", ".join(versions) or "not recorded",
  }
  file, alone = f"modeling_data2vec2_{modality}", ""
  if second:
    alone = _ALONE.format(
      file=f"{file}.py", module=file, architecture=architecture
    )
  cls = modality == "vision" and encoder["cls_token"]
  card = _CARD.format(
    task=task or "feature-extraction",
    modality=modality,
    what=_WHAT[modality],
    table=_table(rows),
    architecture="AutoModel" if second else architecture,
    options=", trust_remote_code=True" if second else "",
    alone=alone,
    inputs=_INPUTS[modality],
    result=_RESULTS.get(objective, _FEATURES).format(
      tokens="[:, 1:]" if cls else ""
    ),
  )
  if notes:
    card += "\n## Note\n\n" + "".join(f"- {note}\n" for note in notes)
  metrics = {
    k: f"{v:.4g}"
    for k, v in (facts.get("metrics") or {}).items()
    if type(v) in (int, float)
  }
  if metrics:
    card += f"\n## Evaluation\n\n{_table(metrics)}"
  if config:
    shown = json.dumps(config, indent=2)
    card += f"\n## Config\n\n```json\n{shown}\n```\n"
  return card


def _evaluation(workdir: epath.Path) -> dict[str, Any]:
  path = workdir / "evaluation.json"
  if path.exists():
    content = bounded.read_json(path)
    if not isinstance(content, dict):
      raise ValueError(f"{path} is damaged: it holds no object; remove it.")
    return content
  path, last = workdir / "metrics.jsonl", {}
  for line in path.read_text().splitlines() if path.exists() else ():
    values = json.loads(line)
    found = {k: v for k, v in values.items() if metric_names.is_result(k)}
    if found:
      last = {"step": values["step"], **found}
  return last


def _table(rows: Mapping[str, Any]) -> str:
  lines = [f"| {key} | {value} |\n" for key, value in rows.items()]
  return "".join(("| | |\n|---|---|\n", *lines))


def _public(value: Any) -> Any:
  if isinstance(value, Mapping):
    return {k: _public(v) for k, v in value.items()}
  if isinstance(value, list | tuple):
    return [_public(v) for v in value]
  if isinstance(value, str) and value.startswith(("/", "~")):
    return f".../{value.rstrip('/').rsplit('/', 1)[-1]}"
  return value
