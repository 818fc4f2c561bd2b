"""data2vec Base on text, fine-tuned on one of GLUE's tasks.

  d2v train finetune_glue:TASK --workdir=RUN2 --config.init_from=RUN

TASK is cola, mnli, mrpc, qnli, qqp, rte, sst2, stsb or wnli; RUN a pretrained
or imported run, from which encoder and tokenizer come (without it, but with
--config.encoder.name=text and --config.data.tokenizer.path: Base from scratch).
The data are GLUE's own folders, glue_data/CoLA and so on; see docs/text.md.

Source: data2vec (arXiv 2202.03555) section 5.3 and Table 4, and the released
fine-tuning configs, which are RoBERTa's. Results on the dev sets, means of 5
runs; MNLI matched/mismatched, (accuracy + F1) / 2 for MRPC and QQP, (Pearson +
Spearman) / 2 for STS-B, Matthews for CoLA, accuracy for the others:

                  MNLI       QNLI  RTE   MRPC  QQP   STS-B  CoLA  SST-2  mean
  data2vec        83.2/83.0  90.9  67.0  90.2  89.1  87.2   62.2  91.8   82.7
  + masked spans  82.8/83.4  91.1  69.9  90.0  89.0  87.7   60.3  92.4   82.9
  RoBERTa         84.1/83.9  90.4  69.3  89.0  89.3  88.9   56.8  92.3   82.5

                paper                     released           here
  peak rate     one of 1, 2, 3, 4e-5 for  1e-5; 2e-5 for     as released
                all tasks                 RTE and STS-B
  runs          mean of 5 seeds           1                  1, --config.seed
  WNLI          left out                  left out           as RTE, 10 epochs
  model scored  -                         best on the dev    the last, after 10
                                          set of 10 epochs   epochs
  long inputs   -                         not trained on     cut to 512 tokens
  batches       -                         at most 4400       of similar lengths,
                                          tokens             always full
  precision     -                         float16            bfloat16

Batch, warm-up and updates (10 epochs), Adam, decay on every parameter, dropout,
head and linear schedule are as released. Five runs at four rates:
--config.schedule.peak and --config.seed.

Cost: 124,646,402 parameters with two classes; 397 (WNLI) to 123,873 (MNLI)
updates, in batches of 16 or 32.
"""

import ml_collections

# Folder, outputs, batch, updates in warm-up and in all, peak rate.
TASKS = {
  "cola": ("CoLA", 2, 16, 320, 5336, 1e-5),
  "mnli": ("MNLI", 3, 32, 7432, 123873, 1e-5),
  "mrpc": ("MRPC", 2, 16, 137, 2296, 1e-5),
  "qnli": ("QNLI", 2, 32, 1986, 33112, 1e-5),
  "qqp": ("QQP", 2, 32, 28318, 113272, 1e-5),
  "rte": ("RTE", 2, 16, 122, 2036, 2e-5),
  "sst2": ("SST-2", 2, 32, 1256, 20935, 1e-5),
  "stsb": ("STS-B", 1, 16, 214, 3598, 2e-5),
  "wnli": ("WNLI", 2, 16, 24, 397, 2e-5),
}


def get_config(task: str = "rte") -> ml_collections.ConfigDict:
  """The released recipe of a task; evaluated ten times, on its dev set."""
  if task not in TASKS:
    raise ValueError(
      f"unknown task {task!r}; choose one of: {', '.join(TASKS)}"
    )
  folder, outputs, batch_size, warmup, updates, rate = TASKS[task]
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.total_steps = updates
  c.batch_size = batch_size
  c.log_every = 50
  c.checkpoint_every = updates // 10
  c.checkpoints = dict(keep_latest=1)
  c.modality = "text"
  c.compute_dtype = "bfloat16"
  c.sharding = "replicated"
  c.init_from = ""

  source = dict(name="glue", task=task, path=f"glue_data/{folder}")
  c.data = dict(
    source=dict(**source, split="train"),
    buckets=dict(lengths=(32, 64, 128, 256, 512)),
    labels=dict(name="label"),
    num_threads=2,
  )
  c.encoder = dict(dropout=0.1, attention_dropout=0.1)
  c.objective = dict(
    name="regression" if task == "stsb" else "classification",
    head=dict(num_outputs=outputs, pool="first", hidden=True),
  )
  c.schedule = dict(name="linear", peak=rate, warmup_steps=warmup)
  c.optimizer = dict(
    b1=0.9,
    b2=0.98,
    eps=1e-6,
    uncorrected_eps=True,
    weight_decay=0.1,
    no_decay=(),
  )
  c.evaluation = dict(
    every=updates // 10,
    test=dict(**source, split="dev"),
    evaluators={c.objective.name: {}},
  )
  if task == "mnli":
    c.evaluation.test.split = "dev_matched"
    c.evaluation.test_mismatched = dict(**source, split="dev_mismatched")
    c.evaluation.evaluators.mismatched = dict(
      name="classification", split="test_mismatched"
    )
  return c
