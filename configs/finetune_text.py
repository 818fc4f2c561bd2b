"""Classification by a pretrained model of text, on a labelled table.

  d2v train finetune_text --workdir=RUN2 \\
    --config.init_from=RUN --config.data.source.path=TABLE.tsv \\
    --config.evaluation.test.path=TABLE.tsv

TABLE.tsv has the columns text, label and split (train, test). RUN is a run of
text_files.py, or any other, or an import; network and tokenizer are RUN's. The
number of classes: --config.objective.head.num_outputs. From scratch with the
network of text_files.py, for comparison:

  d2v train finetune_text:scratch --config.data.tokenizer.path=tokenizer.json

and the rest as above. Scores instead of classes:

  --config.objective.name=regression --config.objective.head.num_outputs=1
  --config.data.source.numeric=True --config.evaluation.test.numeric=True
  --config.evaluation.evaluators="{'regression': {}}"

Source: data2vec (arXiv 2202.03555) section 4.3; the released GLUE recipes have
this head, weight decay on everything, and a linear schedule with 6 % warm-up.
Sizes and rates are for small models and short runs; for an import of a large
one take a smaller rate, such as --config.schedule.peak=5e-5.
"""

import ml_collections

from configs import text_files

STARTS = ("pretrained", "scratch")


def get_config(start: str = "pretrained") -> ml_collections.ConfigDict:
  """Fine-tuning on texts of up to 128 tokens, or the same from scratch."""
  if start not in STARTS:
    raise ValueError(f"unknown {start!r}; choose one of: {', '.join(STARTS)}")
  c = text_files.get_config()
  c.init_from = ""
  c.total_steps = 1000
  table = dict(name="table", path="table.tsv", label="label")
  c.data = dict(
    source=dict(**table, split="train"),
    buckets=dict(lengths=(32, 64, 128)),
    labels=dict(name="label"),
    num_threads=2,
  )
  if start == "pretrained":
    c.encoder = dict()
  else:
    c.data.tokenizer = dict(path="tokenizer.json")
  c.objective = dict(
    name="classification",
    head=dict(num_outputs=2, pool="first", hidden=True),
  )
  c.schedule = dict(name="linear", peak=5e-4, warmup_steps="6%")
  c.optimizer = dict(
    b2=0.98, eps=1e-6, weight_decay=0.1, clip_norm=5.0, no_decay=()
  )
  c.evaluation = dict(
    every="25%",
    test=dict(**table, split="test"),
    batch_size=256,
    evaluators=dict(classification=dict()),
  )
  return c
