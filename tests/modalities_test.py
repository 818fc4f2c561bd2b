"""All but images from the command line: the same loop, resume and probes."""

import os
import signal

import numpy as np
import pytest
import soundfile

from d2v_jax import main
from d2v_jax.data import pipeline
from tests import runs

CONFIGS = {
  "speech": "tests/configs/tiny_speech.py",
  "spectrogram": "tests/configs/tiny_spectrogram.py",
  "signal": "tests/configs/tiny_signal.py",
  "text": "tests/configs/tiny_text.py",
}
ONE_DEVICE = "--config.num_devices=1"
# One length of batches, and so one program, where two would show no more.
ONE_BUCKET = {
  "speech": ("--config.data.buckets.lengths=(8_000,)",),
  "signal": ("--config.data.buckets.lengths=(40,)",),
}
FROM_CLASSES = {
  "speech": ("--config.objective.head.num_outputs=4",),
  "spectrogram": ("--config.objective.head.num_outputs=4",),
  "signal": ("--config.objective.head.num_outputs=4",),
  "text": (
    "--config.objective.head.num_outputs=7",
    "--config.data.packing=None",
  ),
}


def train(modality, workdir, *arguments):
  return main.main(
    [
      f"--config={runs.ROOT / CONFIGS[modality]}",
      f"--workdir={workdir}",
      *arguments,
    ]
  )


@pytest.fixture(scope="module", autouse=True)
def signals(tmp_path_factory):
  """Where the config of signals finds some, of two lengths and four classes."""
  folder = tmp_path_factory.mktemp("signals")
  rng = np.random.default_rng(0)
  lengths = 20 + 15 * (np.arange(48) // 4 % 2)
  np.savez(
    folder / "signals.npz",
    signal=rng.normal(size=(lengths.sum(), 3)),
    length=lengths,
    label=np.arange(48) % 4,
  )
  with pytest.MonkeyPatch.context() as m:
    m.chdir(folder)
    yield


class Pretrained(dict):
  """Modality -> workdir of a finished run, made when it is asked for."""

  def __init__(self, folder):
    super().__init__()
    self._folder = folder

  def __missing__(self, modality):
    self[modality] = self._folder / modality
    assert train(modality, self[modality], ONE_DEVICE) == 0
    return self[modality]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
  return Pretrained(tmp_path_factory.mktemp("pretrained"))


@pytest.mark.slow
@pytest.mark.parametrize("modality", CONFIGS)
def test_trains_and_measures(modality, pretrained):
  losses = list(runs.losses(pretrained[modality]).values())
  assert len(losses) == 8 and np.isfinite(losses).all()
  measured = [
    x for x in runs.metrics(pretrained[modality]) if "knn/accuracy" in x
  ]
  assert [x["step"] for x in measured] == [0, 4, 8]
  assert (
    measured[0]["effective_rank/test"] != measured[2]["effective_rank/test"]
  )


@pytest.mark.slow
@pytest.mark.parametrize("modality", CONFIGS)
def test_stopped_and_resumed(modality, pretrained, tmp_path, monkeypatch):
  workdir = tmp_path / "run"
  take, taken = pipeline.TrainBatches.__next__, []

  def next_batch(self):
    taken.append(1)
    if len(taken) == 3:
      os.kill(os.getpid(), signal.SIGTERM)
    return take(self)

  with monkeypatch.context() as m:
    m.setattr(pipeline.TrainBatches, "__next__", next_batch)
    assert train(modality, workdir, ONE_DEVICE) == 143
  assert train(modality, workdir, ONE_DEVICE) == 0
  assert runs.metrics(workdir) == runs.metrics(pretrained[modality])
  runs.assert_same_state(workdir, pretrained[modality])


@pytest.mark.slow
@pytest.mark.parametrize("modality", CONFIGS)
def test_several_devices_give_the_same(modality, tmp_path):
  # Without dropout, whose mask depends on where it is drawn.
  still = ["--config.evaluation.evaluators=None"]
  still += ONE_BUCKET.get(modality, ())
  if modality != "spectrogram":
    still.append("--config.encoder.dropout=0.0")
  if modality in ("speech", "signal"):
    still.append("--config.encoder.layer_drop=0.0")
  one = tmp_path / "one"
  assert train(modality, one, ONE_DEVICE, *still) == 0
  for sharding in ("replicated", "fsdp"):
    split = ["--config.num_devices=4", f"--config.sharding={sharding}"]
    assert train(modality, tmp_path / sharding, *split, *still) == 0
    losses = runs.losses(tmp_path / sharding)
    assert losses == pytest.approx(runs.losses(one), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("modality", CONFIGS)
def test_fine_tuned_on_classes(modality, pretrained, tmp_path):
  arguments = (
    ONE_DEVICE,
    "--config.objective=None",
    "--config.objective.name=classification",
    "--config.data.mask=None",
    "--config.data.labels.name=label",
    "--config.optimizer.freeze_steps=2",
    "--config.evaluation.evaluators={'classification': {}}",
    *FROM_CLASSES[modality],
    *ONE_BUCKET.get(modality, ()),
  )
  given = f"--config.init_from={pretrained[modality]}"
  workdir = tmp_path / "run"
  assert train(modality, workdir, *arguments, given) == 0
  measured = [
    x for x in runs.metrics(workdir) if "classification/accuracy" in x
  ]
  assert {"classification/f1", "classification/matthews"} <= set(measured[-1])
  # Two updates later the encoder is still the pretrained one, then it is not.
  _, before = runs.state(pretrained[modality])
  frozen = tmp_path / "frozen"
  stop = "--config.total_steps=2", "--config.schedule.warmup_steps=1"
  assert train(modality, frozen, *arguments, *stop, given) == 0
  _, after, last = None, runs.state(frozen)[1], runs.state(workdir)[1]
  names = [n for n in before if n.startswith("params['blocks']")]
  assert names
  for name in names:
    np.testing.assert_array_equal(after[name], before[name])
  assert any(np.any(last[name] != before[name]) for name in names)


@pytest.mark.slow
def test_transcribed(pretrained, tmp_path, capsys, recordings):
  arguments = (
    ONE_DEVICE,
    "--config.objective=None",
    "--config.objective.name=ctc",
    "--config.objective.head.num_outputs=29",
    f"--config.data.source={{'name': 'manifest', 'path': '{recordings}'}}",
    "--config.data.labels={'name': 'characters', 'max_length': 12}",
    f"--config.evaluation.test={{'name': 'manifest', 'path': '{recordings}'}}",
    "--config.evaluation.evaluators={'wer': {}}",
    f"--config.init_from={pretrained['speech']}",
  )
  assert train("speech", tmp_path / "run", *arguments) == 0
  last = runs.metrics(tmp_path / "run")[-1]
  assert last["wer/cer"] >= 0 and last["infeasible"] == 0
  # A head of another size than the characters is an error at once.
  capsys.readouterr()
  wrong = "--config.objective.head.num_outputs=30"
  assert train("speech", tmp_path / "wrong", *arguments, wrong) == 2
  assert (
    "config.objective.head.num_outputs: got 30, but the labels have 29 "
    "different values; set it to 29."
  ) in capsys.readouterr().err


@pytest.fixture
def recordings(tmp_path):
  """A table of transcribed noise."""
  rng = np.random.default_rng(0)
  rows = ["path\ttext"]
  for i in range(20):
    noise = rng.normal(0, 0.1, 4000 + 150 * i)
    soundfile.write(tmp_path / f"{i}.wav", noise, 16000)
    rows.append(f"{i}.wav\tAB C")
  (tmp_path / "files.tsv").write_text("\n".join(rows) + "\n")
  return tmp_path / "files.tsv"


@pytest.mark.parametrize("modality", CONFIGS)
def test_without_a_mask_data2vec_says_so(modality, tmp_path, capsys):
  assert train(modality, tmp_path, ONE_DEVICE, "--config.data.mask=None") == 2
  error = capsys.readouterr().err
  assert "the batch has no mask" in error and "set config.data.mask" in error


@pytest.mark.parametrize("modality", ["speech", "signal", "text"])
def test_without_buckets(modality, tmp_path, capsys):
  assert (
    train(modality, tmp_path, ONE_DEVICE, "--config.data.buckets=None") == 2
  )
  assert (
    "config.data.buckets: examples differ in length; give the lengths of "
    "batches"
  ) in capsys.readouterr().err
