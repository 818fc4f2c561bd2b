"""Workdirs as runs leave them, written by hand."""

import json

CONFIG = {
  "seed": 0,
  "batch_size": 8,
  "total_steps": 100,
  "modality": "vision",
  "encoder": {"name": "vit", "width": 16, "depth": 2},
  "objective": {"name": "data2vec"},
}
START = {
  "step": 0,
  "time": "2026-01-02T03:04:05Z",
  "command": ["python", "-m", "d2v_jax", "train"],
  "python": "3.12.1",
  "versions": {"jax": "0.12.0"},
  "commit": "abc123",
  "devices": "1 x cpu",
  "processes": 1,
}
LINES = (
  {"step": 0, "knn/accuracy": 0.25, "position_share/block_00": 0.5},
  {"step": 50, "loss": 2.0, "lr": 0.1, "target_std": 0.9}
  | {"examples_per_sec": 4.0},
  {"step": 100, "loss": 1.5, "lr": 0.05, "target_std": 0.8}
  | {"examples_per_sec": 8.0, "knn/accuracy": 0.75}
  | {"knn/validation_accuracy": 0.7, "position_share/block_00": 0.25},
)
REFERENCES = [
  {
    "of": {},
    "untrained": {"knn": {"accuracy": 0.25}},
    "simple": {"knn": {"pixels": {"accuracy": 0.8}}},
  }
]


def write(folder, lines=LINES, config=CONFIG, starts=(START,)):
  """Writes what a run of these lines would have left; returns the folder."""
  folder.mkdir(parents=True)
  record = {"config": config, "starts": list(starts)}
  (folder / "run.json").write_text(json.dumps(record))
  text = "".join(f"{json.dumps(x)}\n" for x in lines)
  (folder / "metrics.jsonl").write_text(text)
  (folder / "references.json").write_text(json.dumps(REFERENCES))
  return folder


def text_of(*elements):
  """All text in elements, in order."""
  return " ".join(" ".join(x.itertext()) for x in elements)
