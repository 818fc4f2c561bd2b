import os

import numpy as np
import pytest

from d2v_jax.data import pipeline
from d2v_jax.data.buckets import Buckets
from d2v_jax.data.corrupt import CorruptRecords, problem
from d2v_jax.data.images.examples import DecodedImages
from d2v_jax.data.images.image_files import ImageFolder
from d2v_jax.data.images.pixels import Form
from d2v_jax.data.images.transform import ImageTrainTransform
from d2v_jax.data.recordings.transform import RecordingTrainTransform
from d2v_jax.data.speech.examples import Utterances
from d2v_jax.data.speech.sources import AudioFolder
from tests.data.images.pictures import encoded, smooth
from tests.data.speech import recordings

PLAIN = ImageTrainTransform(8, 2, color_jitter=None, crop_scale=None)
LATIN = os.fsdecode(b"caf\xe9")


def spoil(folder, ending):
  """Files that will be of no use, some only once they have been listed."""
  os.symlink("nowhere", folder / f"dangling{ending}")
  os.mkfifo(folder / f"pipe{ending}")
  (folder / f"{LATIN}{ending}").write_bytes(b"")
  later = {}
  for name in ("gone", "folder"):
    later[name] = folder / f"{name}{ending}"

  def vanish():
    for path in later.values():
      path.unlink()
    later["folder"].mkdir()

  return later.values(), vanish


def reasons(log):
  lines = log.read_text().splitlines()
  return {
    os.path.basename(name): reason
    for name, reason in (line.split("\t") for line in lines)
  }


def take(source, transform, log, count=6, **options):
  batches = pipeline.train_batches(
    *(source, transform),
    **{"seed": 0, "batch_size": 4, "num_threads": 2, **options},
    corrupt_log=log,
  )
  try:
    return [next(batches) for _ in range(count)], batches.num_corrupt
  finally:
    batches.close()


def test_images_that_are_of_no_use(tmp_path):
  folder, log = tmp_path / "images", tmp_path / "corrupt_files.txt"
  files = {f"{k}.png": encoded(smooth(8, 8, seed=k), "PNG") for k in range(4)}
  recordings.write_files(folder, files)
  later, vanish = spoil(folder, ".png")
  for path in later:
    path.write_bytes(files["0.png"])
  source = DecodedImages(ImageFolder(str(folder)), Form(3))
  vanish()
  batches, number = take(source, PLAIN, log)
  assert number == 5 and len(batches) == 6
  expected = {
    "dangling.png": "a link to nothing",
    "pipe.png": "a pipe, no file",
    r"caf\udce9.png": "no image that is read: empty",
    "gone.png": "it is gone",
    "folder.png": "a folder, no file",
  }
  assert reasons(log) == expected
  # A resumed run counts none of them again.
  _, number = take(source, PLAIN, log, start_step=6)
  assert number == 5 and reasons(log) == expected
  with pytest.raises(
    ValueError, match=r"more than max_corrupt=1; the first are"
  ):
    take(source, PLAIN, None, max_corrupt=1)


def test_recordings_that_are_of_no_use(tmp_path):
  folder, log = tmp_path / "audio", tmp_path / "corrupt_files.txt"
  files = {
    f"{k}.wav": recordings.encoded(recordings.sine(900)) for k in range(4)
  }
  files["silent.wav"] = recordings.encoded(np.zeros(900))
  recordings.write_files(folder, files)
  later, vanish = spoil(folder, ".wav")
  for path in later:
    path.write_bytes(files["0.wav"])
  source = Utterances(AudioFolder(str(folder)))
  vanish()
  transform = RecordingTrainTransform()
  options = {"buckets": Buckets((1000,))}
  _, number = take(source, transform, log, **options)
  assert number == 6
  assert reasons(log) == {
    "dangling.wav": "a link to nothing",
    "pipe.wav": "a pipe, no file",
    r"caf\udce9.wav": "empty",
    "gone.wav": "it is gone",
    "folder.wav": "a folder, no file",
    "silent.wav": "silent: its standard deviation is below 1e-4",
  }


class Told:
  """A source that knows some records are of no use."""

  def __init__(self):
    self.unreadable = {"a\nb.wav": "empty", "c.wav": "cut short"}

  def __len__(self):
    return 5

  def record_name(self, index):
    return f"record {index}"


def test_records_known_from_the_start_count(tmp_path):
  log = tmp_path / "log"
  found = CorruptRecords(Told(), 3, log)
  found.note(np.array([4, 1]), np.array([0, 1]))
  assert log.read_text() == (
    "a\\nb.wav\tempty\nc.wav\tcut short\n"
    "record 4\tit could not be read when it was its turn\n"
  )
  assert len(CorruptRecords(Told(), 3, log).names) == 3
  with pytest.raises(
    ValueError, match=r"2 corrupt .* first are a\\nb.wav: emp"
  ):
    CorruptRecords(Told(), 1, None)
  assert problem(Told(), 0) == "it could not be read when it was its turn"
