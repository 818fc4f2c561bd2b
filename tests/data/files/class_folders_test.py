"""Folders as they come: each file is used once, or named with a reason."""

import collections
import functools
import io
import logging
import os
import pathlib
import tempfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from d2v_jax.data.files.class_folders import class_folders
from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.files.walk import walk
from d2v_jax.data.images.examples import DecodedImages
from d2v_jax.data.images.image_files import ImageFolder
from d2v_jax.data.images.pixels import Form
from d2v_jax.data.layout import WaveformInputs
from d2v_jax.data.signals.examples import Signals
from d2v_jax.data.signals.files import SignalFolder
from d2v_jax.data.signals.normalise import Normalisation
from d2v_jax.data.speech.examples import Utterances
from d2v_jax.data.speech.sources import AudioFolder
from d2v_jax.data.text.text_files import TextFiles
from tests.data.images.pictures import encoded, smooth
from tests.data.speech import recordings


def found(root, endings=(".jpg",), labels=None):
  return class_folders(root, endings, labels, owner="Test", what="pictures")


def make(root, *names):
  for name in names:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(os.fsencode(name))


def test_classes_are_the_first_folders(tmp_path):
  make(tmp_path, "dog/x/1.jpg", "cat/2.jpg", "cat/3.JPG", ".git/4.jpg")
  made = found(tmp_path)
  assert made.class_names == ("cat", "dog") and made.labels == [0, 0, 1]
  assert list(made.files) == [
    str(tmp_path / name) for name in ("cat/2.jpg", "cat/3.JPG", "dog/x/1.jpg")
  ]
  unlabelled = found(tmp_path, labels=False)
  assert unlabelled.labels is None and unlabelled.class_names == ()


def test_classes_that_get_lost_are_named(tmp_path, caplog):
  make(tmp_path, "cat/1.jpg", "eel/2.heic", "eel/3.heic", "fox/.4.jpg")
  with caplog.at_level(logging.WARNING):
    assert found(tmp_path).class_names == ("cat",)
  assert "2 with the ending .heic (eel/2.heic, eel/3.heic)" in caplog.text
  assert "no classes, as none of their files is read: eel" in caplog.text


def test_files_beside_the_classes_are_said_to_take_the_labels(tmp_path, caplog):
  make(tmp_path, "cat/1.jpg", "dog/2.jpg", "thumb.jpg")
  with caplog.at_level(logging.WARNING):
    assert found(tmp_path).labels is None
  assert (
    "Test: unlabelled, as 1 of 3 files lie beside the folders" in caplog.text
  )
  caplog.clear()
  found(tmp_path, labels=False)
  assert not caplog.records


def test_classes_that_look_the_same(tmp_path):
  make(tmp_path, "caf\u00e9/1.jpg", "cafe\u0301/2.jpg")
  with pytest.raises(
    ValueError, match=r"has the classes .*; rename one of them"
  ):
    found(tmp_path)


def test_errors_say_what_there_is(tmp_path):
  make(tmp_path, "cat/1.heic", "2.gif")
  with pytest.raises(
    ValueError,
    match=r"Test: no pictures in .* in one of: .jpg. left out 2 of 2 \(100%\)",
  ):
    found(tmp_path)


# The property: what folders may hold, and by what each is read.

FOLDERS = ("", "cat", "dog", "dog/deep", ".cache", os.fsdecode(b"caf\xe9"))
STEMS = ("a", "b", "B b", "new\nline", os.fsdecode(b"\xff"), ".hidden")
CONTENTS = ("good", "tail", "cut", "text", "empty", "pointer")
NODES = ("file", "file", "file", "dangling", "pipe", "link", "hard link")
GOOD = ("good", "tail")


def picture(seed):
  return encoded(smooth(5, 6, seed=seed), "PNG")


def sound(seed):
  return recordings.encoded(recordings.sine(800, frequency=300.0 + seed))


def signal(seed):
  file = io.BytesIO()
  np.save(file, np.random.default_rng(seed).standard_normal((40, 2)))
  return file.getvalue()


def prose(seed):
  return f"line {seed}\n".encode()


KINDS = {
  "images": ((".png", ".PNG", ".jpg", ".heic", ""), picture),
  "audio": ((".wav", ".WAV", ".ogg", ".wma", ""), sound),
  "signals": ((".npy", ".NPY", ".Npy", ".mat", ""), signal),
  "text": ((".txt", ".TXT", ".md", ".csv", ""), prose),
}

ENTRIES = strategies.lists(
  strategies.tuples(
    strategies.sampled_from(FOLDERS),
    strategies.sampled_from(STEMS),
    strategies.integers(0, 4),  # ending
    strategies.sampled_from(NODES),
    strategies.sampled_from(CONTENTS),
  ),
  min_size=1,
  max_size=9,
  unique_by=lambda entry: entry[:3],
)
LINKED = strategies.lists(
  strategies.tuples(
    strategies.sampled_from(FOLDERS),
    # A link that is not hidden may lead to a hidden folder, which then is read.
    strategies.sampled_from([f for f in FOLDERS if not f.startswith(".")]),
  ),
  max_size=3,
)


def content(kind, what, seed):
  good = KINDS[kind][1](seed)
  return {
    "good": good,
    "tail": good + (b"" if kind == "text" else b"more"),
    "cut": good[: len(good) * 2 // 3],
    "text": b"some words",
    "empty": b"",
    "pointer": b"version https://git-lfs.github.com/spec/v1",
  }[what]


def build(root, kind, entries, links):
  """Makes a folder; returns content of its good files, by what they hold."""
  files = []
  for k, (folder, stem, ending, node, what) in enumerate(entries):
    path = root / folder / f"{stem}{KINDS[kind][0][ending]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if node == "dangling":
      path.symlink_to("nowhere")
    elif node == "pipe":
      os.mkfifo(path)
    elif node == "link" and files:
      path.symlink_to(files[-1])
    elif node == "hard link" and files:
      os.link(files[-1], path)
    else:
      path.write_bytes(content(kind, what, k))
      files.append(path)
  for k, (folder, target) in enumerate(links):
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / target).mkdir(parents=True, exist_ok=True)
    (root / folder / f"link{k}").symlink_to(root / target)


def identity(path):
  status = os.stat(path)
  return status.st_dev, status.st_ino


def everything(root):
  """All that is below a folder, by a walk that follows nothing."""
  return [
    pathlib.Path(folder, name)
    for folder, folders, files in os.walk(root)
    for name in files
    + [f for f in folders if pathlib.Path(folder, f).is_symlink()]
  ]


def is_hidden(name):
  return any(part.startswith(".") for part in name.split("/"))


@functools.cache
def endings_of(kind):
  from d2v_jax.data.images.image_files import EXTENSIONS as IMAGES
  from d2v_jax.data.signals.files import EXTENSIONS as SIGNALS
  from d2v_jax.data.speech.sources import EXTENSIONS as AUDIO
  from d2v_jax.data.text.text_files import EXTENSIONS as TEXT

  every = {"images": IMAGES, "audio": AUDIO, "signals": SIGNALS, "text": TEXT}
  return every[kind]


def check_listing(root, kind):
  """Each name is listed or left out, and no file is listed twice."""
  listing = walk(root, endings_of(kind), "Test")
  named = collections.Counter(listing.files)
  for names in listing.left_out.values():
    named.update(names)
  assert not [name for name, count in named.items() if count > 1]
  for path in everything(root):
    name = path.relative_to(root).as_posix()
    parents = {
      "/".join(name.split("/")[:k]) for k in range(1, name.count("/") + 1)
    }
    # By itself, or by a folder that is left out, or links were followed to it.
    by_link = path.is_symlink() and path.is_dir()
    below = [n for n in named if n.startswith(f"{name}/")]
    assert (
      name in named
      or parents & named.keys()
      or (by_link and (below or not any(os.scandir(path))))
    ), name
  real = [
    identity(listing.path(f))
    for f in listing.files
    if os.path.exists(listing.path(f))
  ]
  assert len(set(real)) == len(real)
  return listing


def good_files(root, kind, entries):
  """Identities of the files that must be used: visible, whole, of an ending."""
  bytes_of = {
    content(kind, what, k): what in GOOD for k, (*_, what) in enumerate(entries)
  }
  return {
    identity(path)
    for path in everything(root)
    if path.is_file()
    and not is_hidden(path.relative_to(root).as_posix())
    and path.name.lower().endswith(endings_of(kind))
    and bytes_of.get(path.read_bytes(), False)
  }


def check_used(examples, wanted):
  """Each file that must be used is, once; returns the others' problems."""
  problems = [examples.problem(i) for i in range(len(examples))]
  used = [
    identity(examples.record_name(i))
    for i, problem in enumerate(problems)
    if problem is None
  ]
  assert sorted(used) == sorted(wanted)
  return problems


property_test = hypothesis.settings(
  max_examples=60, deadline=None, derandomize=True, database=None
)


@property_test
@hypothesis.given(entries=ENTRIES, links=LINKED)
def test_any_folder_of_images(entries, links):
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    build(root, "images", entries, links)
    listing = check_listing(root, "images")
    wanted = good_files(root, "images", entries)
    if not listing.files:
      assert not wanted
      with pytest.raises(ValueError, match="no images in"):
        ImageFolder(folder)
      return
    decoded = DecodedImages(ImageFolder(folder), Form(3))
    problems = check_used(decoded, wanted)
    assert all(problem is None or problem for problem in problems)
    for i in range(len(decoded)) if wanted else ():
      record = decoded[i]["record"]
      assert problems[record] is None
      assert (record == i) == (problems[i] is None)


@property_test
@hypothesis.given(entries=ENTRIES, links=LINKED)
def test_any_folder_of_audio(entries, links):
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    build(root, "audio", entries, links)
    listing = check_listing(root, "audio")
    wanted = good_files(root, "audio", entries)
    if not listing.files:
      assert not wanted
      return
    source = AudioFolder(folder)
    measured = [source.measured(i) for i in range(len(source))]
    listed = [
      identity(source.record_name(i))
      for i, found in enumerate(measured)
      if not isinstance(found, Unreadable)
    ]
    assert sorted(listed) == sorted(wanted)
    assert all(str(found) for found in measured)
    # Training agrees with the manifest about every file.
    try:
      utterances = Utterances(source)
    except ValueError as error:
      assert not wanted and "none of" in str(error)
      return
    problems = [utterances.problem(i) for i in range(len(utterances))]
    used = {
      identity(utterances.record_name(i))
      for i, problem in enumerate(problems)
      if problem is None
    }
    assert used == wanted
    names = {utterances.record_name(i) for i in range(len(utterances))}
    assert names | set(utterances.unreadable) == set(source.files)
    assert all(utterances.unreadable.values())


@property_test
@hypothesis.given(entries=ENTRIES, links=LINKED)
def test_any_folder_of_signals(entries, links):
  inputs = WaveformInputs(((4, 4, 2),), width=4, rate=10.0, channels=2)
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    build(root, "signals", entries, links)
    listing = check_listing(root, "signals")
    wanted = good_files(root, "signals", entries)
    if not listing.files:
      assert not wanted
      with pytest.raises(ValueError, match="no signals in"):
        SignalFolder(folder)
      return
    source = SignalFolder(folder)
    try:
      signals = Signals(
        source,
        inputs=inputs,
        normalise=Normalisation(2),
        resample=False,
        max_seconds=10.0,
      )
    except ValueError as error:
      assert not wanted and "none of" in str(error)
      return
    check_used(signals, wanted)
    names = {signals.record_name(i) for i in range(len(signals))}
    files = {source.record_name(i) for i in range(len(source))}
    assert names | set(signals.unreadable) == files
    assert all(signals.unreadable.values())


@property_test
@hypothesis.given(entries=ENTRIES, links=LINKED)
def test_any_folder_of_text(entries, links):
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    build(root, "text", entries, links)
    listing = check_listing(root, "text")
    real = {
      identity(listing.path(file))
      for file in listing.files
      if os.path.isfile(listing.path(file))
    }
    if not real:
      with pytest.raises(ValueError, match="no text in"):
        TextFiles(folder)
      return
    source = TextFiles(folder)
    # Every line of every file once: bytes are the only oracle.
    lines = [
      line
      for file in listing.files
      if os.path.isfile(listing.path(file))
      for line in pathlib.Path(listing.path(file)).read_text().split("\n")
      if line
    ]
    texts = [source[i]["text"] for i in range(len(source))]
    assert sorted(texts) == sorted(lines)
