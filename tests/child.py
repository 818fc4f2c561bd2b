"""The command line, with a signal at a chosen moment.

  python -m tests.child MOMENT COUNT SIGNAL REPORT ARGUMENTS...

The process sends itself SIGNAL when it reaches MOMENT for the COUNT-th time:
`batch` (a batch was taken), `save` (a checkpoint is being written in the
background) or `evaluate` (evaluators are about to run); `never` sends none, and
at `hang` the COUNT-th batch does not come. If
it survives, it takes half a second for each further batch, since several
processes need about a second to agree where to stop. It appends to the file
REPORT one JSON line for each batch and each evaluation.
"""

import contextlib
import json
import os
import sys
import time
import zlib

from d2v_jax import main


def run(moment, count, signum, report, arguments):
  from d2v_jax.data import pipeline
  from d2v_jax.training import compiled_run
  from d2v_jax.training.checkpoints import checkpoint

  reached = {"batch": 0, "save": 0, "evaluate": 0}

  def arrive(name):
    reached[name] += 1
    if (name, reached[name]) == (moment, count):
      os.kill(os.getpid(), signum)
    elif name == "batch" and reached.get(moment, 0) >= count:
      time.sleep(0.5)

  def note(**what):
    with open(report, "a") as f:
      f.write(json.dumps(what) + "\n")

  take, save = pipeline.TrainBatches.__next__, checkpoint.Checkpoints.save
  measure = compiled_run.CompiledRun.evaluate

  def next_batch(self):
    batch = take(self)
    parts = (batch[key].tobytes() for key in sorted(batch))
    note(batch=zlib.crc32(b"".join(parts)))
    if moment == "hang" and reached["batch"] == count - 1:
      time.sleep(3600)
    arrive("batch")
    return batch

  def save_and_arrive(self, *args):
    save(self, *args)
    arrive("save")

  def evaluate(self, *args):
    arrive("evaluate")
    results = measure(self, *args)
    note(results=results)
    return results

  pipeline.TrainBatches.__next__ = next_batch
  checkpoint.Checkpoints.save = save_and_arrive
  compiled_run.CompiledRun.evaluate = evaluate
  return main.main(arguments)


@contextlib.contextmanager
def stdout_of_our_own():
  """Sends what libraries print from C++, as Gloo does, to stderr instead.

  It prints piece by piece and from several threads, into our own lines.
  """
  ours = os.dup(1)
  os.dup2(2, 1)
  with (
    os.fdopen(ours, "w", buffering=1) as stream,
    contextlib.redirect_stdout(stream),
  ):
    yield


if __name__ == "__main__":
  moment, count, signum, report, *arguments = sys.argv[1:]
  with stdout_of_our_own():
    status = run(moment, int(count), int(signum), report, arguments)
  sys.exit(status)
