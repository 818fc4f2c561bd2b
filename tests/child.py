"""The command line, with something that happens at a chosen moment.

  python -m tests.child MOMENT COUNT SIGNAL REPORT ARGUMENTS...

The process sends itself SIGNAL when it reaches MOMENT for the COUNT-th time:
`batch` (a batch was taken), `save` (a checkpoint is being written in the
background) or `evaluate` (evaluators are about to run); `never` sends none. If
it survives, it takes half a second for each further batch, since several
processes need about a second to agree where to stop.

No signal comes with the COUNT-th batch where MOMENT is `hang` (it does not
come), `poison` (its loss is no number), `worker` (a process that reads is
killed, by SIGNAL; `workers`: with each later one, too) or `remove` (the file
that D2V_TEST_REMOVED names is removed before it is taken).

It appends to the file REPORT one JSON line for each batch and each evaluation,
with what it then has of memory, files, threads and arrays.
"""

import contextlib
import ctypes
import gc
import json
import multiprocessing
import os
import pathlib
import sys
import threading
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
    its_turn = reached["batch"] == count - 1
    again = moment == "workers" and reached["batch"] >= count
    if moment in BEFORE and (its_turn or again):
      BEFORE[moment](signum)
    batch = take(self)
    parts = (batch[key].tobytes() for key in sorted(batch))
    note(batch=zlib.crc32(b"".join(parts)))
    arrive("batch")
    if its_turn and moment == "poison":
      batch = batch | {"inputs": batch["inputs"] * 0}
    return batch

  def save_and_arrive(self, *args):
    save(self, *args)
    arrive("save")

  def evaluate(self, *args):
    arrive("evaluate")
    results = measure(self, *args)
    note(results=results, held=held())
    return results

  pipeline.TrainBatches.__next__ = next_batch
  checkpoint.Checkpoints.save = save_and_arrive
  compiled_run.CompiledRun.evaluate = evaluate
  if moment == "poison":
    poison_what_is_empty()
  return main.main(arguments)


def held():
  """What this process has: bytes of memory, open files, threads, arrays."""
  import jax

  gc.collect()
  return {
    "memory": allocated(),
    "files": len(os.listdir("/proc/self/fd")),
    "threads": threading.active_count(),
    "arrays": len(jax.live_arrays()),
  }


def allocated():
  """Bytes that malloc has given out: what is resident, others decide, too."""
  names = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
  )

  class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in names]

  mallinfo2 = ctypes.CDLL(None).mallinfo2
  mallinfo2.restype = Mallinfo2
  found = mallinfo2()
  return found.uordblks + found.hblkhd


def hang(_):
  time.sleep(3600)


def kill_a_worker(signum):
  for worker in multiprocessing.active_children()[:1]:
    os.kill(worker.pid, signum)
    worker.join()


def remove(_):
  pathlib.Path(os.environ["D2V_TEST_REMOVED"]).unlink()


BEFORE = {
  "hang": hang,
  "worker": kill_a_worker,
  "workers": kill_a_worker,
  "remove": remove,
}


def poison_what_is_empty():
  """The loss of a batch of zeros is no number."""
  import jax.numpy as jnp

  from d2v_jax.objectives.data2vec import Data2Vec

  loss = Data2Vec.loss

  def poisoned(self, params, teacher_params, batch, rng):
    found = loss(self, params, teacher_params, batch, rng)
    empty = (batch["inputs"] == 0).all()
    return found._replace(value=jnp.where(empty, jnp.nan, found.value))

  Data2Vec.loss = poisoned


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
