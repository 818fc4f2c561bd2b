import io
import json
import os
import re
import shutil
import types

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from array_record.python.array_record_data_source import ArrayRecordDataSource
from PIL import Image
from safetensors.numpy import load_file

from d2v_jax import pretrained
from d2v_jax.data import mel
from d2v_jax.data.images import transform as image_transform
from d2v_jax.data.images.image_files import ImageFolder
from d2v_jax.data.speech import decoding
from d2v_jax.data.text import tokenizer
from d2v_jax.extraction import command, compute
from d2v_jax.training.checkpoints.checkpoint import Checkpoints
from tests import docs_test, random_runs, runs
from tests.data.images import pictures
from tests.data.speech import recordings

WORDS = ("the", "and", "of")  # each is one token


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """Modality -> workdir."""
  return {
    modality: random_runs.save(tmp_path_factory.mktemp(modality), modality)
    for modality in random_runs.CONFIGS
  }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
  """Modality -> folder of 21 files, or file of 21 lines."""
  root = tmp_path_factory.mktemp("inputs")
  rng = np.random.default_rng(0)
  photos, sounds, lines = {}, {}, []
  for kind in ("run", "walk"):
    (root / "signal" / kind).mkdir(parents=True)
  for i in range(21):
    shape = (9 + i % 3, 8 + i % 4)
    picture = pictures.smooth(*shape, channels=1, seed=i)[..., 0]
    photos[f"{'cat' if i % 2 else 'dog'}/{i:02}.png"] = pictures.encoded(
      picture, "PNG"
    )
    noise = rng.normal(0, 0.1, (3000, 6200, 4000, 5900)[i % 4])
    sounds[f"{'yes' if i % 2 else 'no'}/{i:02}.wav"] = recordings.encoded(noise)
    length = (30, 90, 45, 60)[i % 4]
    folder = root / "signal" / ("run" if i % 2 else "walk")
    np.save(folder / f"{i:02}.npy", rng.normal(2, 3, (length, 3)))
    lines.append("and " + " ".join(rng.choice(WORDS, (5, 26, 12, 27)[i % 4])))
  recordings.write_files(root / "vision", photos)
  recordings.write_files(root / "speech", sounds)
  (root / "text.txt").write_text("\n".join(lines) + "\n")
  return {
    "vision": root / "vision",
    "speech": root / "speech",
    "spectrogram": root / "speech",
    "signal": root / "signal",
    "text": root / "text.txt",
  }


def run(run, source, output, *arguments):
  given = {"--run": run, "--input": source, "--output": output}
  words = [f"{k}={v}" for k, v in given.items()]
  if not any("num_devices" in x for x in arguments):
    words.append("--num_devices=1")
  return command.main([*words, *map(str, arguments)])


def read(path):
  with np.load(path) as file:
    found = types.SimpleNamespace(**file)
  found.metadata = json.loads(str(found.metadata))
  return found


def close(a, b, tolerance):
  np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


def alone(workdir, modality, files):
  """Tokens of each example encoded by itself, but for padding; float64."""
  loaded = pretrained.load(workdir, num_devices=1)
  encode = jax.jit(loaded.encoder)
  centre = image_transform.ImageEvalTransform(8, resize_ratio=None)
  found = []
  for file in files:
    padding = {}
    if modality == "vision":
      pixels = np.asarray(pictures.Image.open(file))[..., None]
      x = centre({"image": pixels})["inputs"]
    elif modality == "speech":
      x = decoding.normalise(decoding.decode(file.read_bytes()))
    elif modality == "spectrogram":
      x = decoding.normalise(decoding.decode(file.read_bytes()))
      start = max(0, len(x) - 4080) // 2  # 24 frames of the middle
      # Four patches begin at each 40 ms; those behind the end are none.
      silent = np.arange(24) // 4 * 640 >= len(x)
      padding = {"padding": silent[None]}
      x = np.pad(x[start : start + 4080], (0, max(0, 4080 - len(x))))
      x = (mel.log_mel(x, 16)[..., None] - np.float32(1)) / np.float32(4)
    elif modality == "signal":
      x = np.load(file)
      x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    else:
      ids = tokenizer.load(name="kjv").encode(file)
      x = np.array([0, *ids, 2], np.int32)
    output = encode(loaded.params, {"inputs": x[None], **padding})
    tokens = np.asarray(output.tokens[0], np.float64)
    found.append(tokens[~silent] if padding else tokens)
  return found


def examples_of(modality, path):
  if modality == "text":
    return path.read_text().splitlines()
  return sorted(path.glob("*/*"))


@pytest.mark.slow
@pytest.mark.parametrize("modality", random_runs.CONFIGS)
def test_each_example_as_if_alone(modality, trained, inputs, tmp_path):
  """Whatever the batch, and in the order of the input."""
  workdir, source = trained[modality], inputs[modality]
  found = {}
  for size in (1, 8):
    out = tmp_path / f"{size}.npz"
    assert run(workdir, source, out, f"--batch_size={size}") == 0
    found[size] = read(out)
  tokens = tmp_path / "tokens.npz"
  assert run(workdir, source, tokens, "--pool=tokens", "--batch_size=8") == 0
  files = examples_of(modality, source)
  expected = alone(workdir, modality, files)
  means = np.stack([x.mean(0) for x in expected])
  assert found[8].features.dtype == np.float32
  close(found[8].features, means, 1e-5)
  # Not bits: how XLA tiles a product, and so in which order it adds, depends on
  # the number of rows.
  close(found[1].features, found[8].features, 1e-6)
  got = read(tokens)
  np.testing.assert_array_equal(
    got.offsets, np.cumsum([0, *map(len, expected)])
  )
  close(got.features, np.concatenate(expected), 1e-5)
  names = [str(f) for f in files]
  if modality == "text":
    names = [f"{source}:{i}" for i in range(1, 22)]
  else:
    classes = got.metadata["class_names"]
    assert classes == sorted(classes) and len(classes) == 2
    assert got.labels.dtype == np.int32
    assert [classes[k] for k in got.labels] == [f.parent.name for f in files]
  assert got.names.tolist() == found[1].names.tolist() == names


def test_unlabelled_text_has_no_labels(trained, inputs, tmp_path):
  out = tmp_path / "x.npz"
  assert run(trained["text"], inputs["text"], out) == 0
  assert not hasattr(read(out), "labels")


@pytest.mark.parametrize(
  "encoder",
  [{"conv_norm": "group"}, {"isolate_padding": False}],
)
def test_networks_that_padding_would_disturb(encoder, inputs, tmp_path):
  workdir = random_runs.save(tmp_path / "run", "speech", **encoder)
  files = examples_of("speech", inputs["speech"])[:4]
  lines = ["path", *map(str, files)]
  table = tmp_path / "x.tsv"
  table.write_text("\n".join(lines))
  out = tmp_path / "x.npz"
  assert run(workdir, table, out, "--batch_size=4") == 0
  expected = [x.mean(0) for x in alone(workdir, "speech", files)]
  close(read(out).features, np.stack(expected), 1e-5)


def test_model_layers_and_pool(trained, inputs, tmp_path):
  workdir, source = trained["vision"], inputs["vision"]
  got = {}
  for name, arguments in {
    "final": (),
    "student": ("--model=student",),
    "cls": ("--pool=cls",),
    "first": ("--layers=0",),
    "both": ("--layers=0,-1",),
    "all": ("--layers=all",),
    "tokens": ("--layers=all", "--pool=tokens"),
  }.items():
    out = tmp_path / f"{name}.npz"
    assert run(workdir, source, out, *arguments) == 0
    got[name] = read(out)
  final, every = got["final"].features, got["all"].features
  assert got["final"].metadata["model"] == "teacher"
  assert every.shape == (21, 3, 16)
  close(every[:, -1], final, 1e-6)
  close(every[:, 0], got["first"].features, 1e-6)
  close(every[:, :2].mean(1), got["both"].features, 1e-6)
  assert got["tokens"].features.shape == (21 * 16, 3, 16)
  close(got["tokens"].features.reshape(21, 16, 3, 16).mean(1), every, 1e-6)
  assert np.abs(got["student"].features - final).max() > 0.1
  assert np.abs(got["cls"].features - final).max() > 0.1
  assert got["final"].metadata["step"] == 3
  weights = {k: v.metadata["weights"] for k, v in got.items()}
  assert weights.pop("student") != weights["final"]
  assert len(set(weights.values())) == 1


@pytest.mark.parametrize(
  ("modality", "pool", "parts"),
  [
    ("vision", "cells:2", 4),
    ("speech", "segments:3", 3),
    ("text", "segments:3", 3),
    ("text", "mean_std", 2),
  ],
)
def test_poolings_of_each_example_alone(
  modality, pool, parts, trained, inputs, tmp_path
):
  workdir, source = trained[modality], inputs[modality]
  out = tmp_path / "x.npz"
  assert run(workdir, source, out, f"--pool={pool}", "--batch_size=8") == 0
  expected = []
  for x in alone(workdir, modality, examples_of(modality, source)):
    n = len(x)
    if pool == "mean_std":
      pieces = [x.mean(0), x.std(0)]
    elif pool == "cells:2":
      corners = x.reshape(2, 2, 2, 2, -1).mean((1, 3))
      pieces = corners.reshape(4, -1)
    else:
      # From floor(i * n / 3) up to ceil((i + 1) * n / 3).
      pieces = [x[i * n // 3 : -(-(i + 1) * n // 3)].mean(0) for i in range(3)]
    expected.append(np.concatenate(list(pieces)))
  got = read(out)
  assert got.features.shape == (21, parts * 16)
  assert got.metadata["pool"] == pool
  close(got.features, np.stack(expected), 1e-5)


def test_without_a_teacher_the_student(trained, inputs, tmp_path, capsys):
  workdir = tmp_path / "run"
  student = pretrained.load(trained["vision"], "student", num_devices=1)
  checkpoints = Checkpoints(workdir / "checkpoints")
  checkpoints.save(0, {"params": student.params, "teacher_params": {}}, {})
  checkpoints.close()
  shutil.copy(trained["vision"] / "run.json", workdir)
  out = tmp_path / "x.npz"
  assert run(workdir, inputs["vision"], out) == 0
  assert read(out).metadata["model"] == "student"
  assert run(workdir, inputs["vision"], tmp_path / "y.npz", "--model=teacher")
  assert "has no teacher" in capsys.readouterr().err


@pytest.mark.parametrize("pool", ["mean", "tokens"])
def test_all_formats_say_the_same(pool, trained, inputs, tmp_path):
  for kind in ("npz", "safetensors", "array_record", "parquet"):
    out = tmp_path / f"x.{kind}"
    given = trained["speech"], inputs["speech"], out, f"--pool={pool}"
    assert run(*given) == 0
  npz = read(tmp_path / "x.npz")
  tensors = load_file(tmp_path / "x.safetensors")
  metadata = json.loads(tensors["metadata"].tobytes())
  assert metadata == npz.metadata
  assert metadata == json.loads((tmp_path / "x.array_record.json").read_text())
  assert json.loads(tensors["names"].tobytes()) == npz.names.tolist()
  for name in ("features", "labels", *(["offsets"] * (pool == "tokens"))):
    assert tensors[name].dtype == getattr(npz, name).dtype
    np.testing.assert_array_equal(tensors[name], getattr(npz, name))
  each = npz.features
  if pool == "tokens":
    each = np.split(npz.features, npz.offsets[1:-1])
  records = ArrayRecordDataSource([str(tmp_path / "x.array_record")])
  assert len(records) == 21
  for i in (0, 7, 20):
    record = np.load(io.BytesIO(records[i]))
    np.testing.assert_array_equal(record["features"], each[i])
    assert record["name"] == npz.names[i]
    assert record["label"] == npz.labels[i]
  table = pq.read_table(tmp_path / "x.parquet")
  assert json.loads(table.schema.metadata[b"d2v_jax"]) == metadata
  assert table["name"].to_pylist() == npz.names.tolist()
  assert table["label"].to_pylist() == npz.labels.tolist()
  classes = [metadata["class_names"][i] for i in npz.labels]
  assert table["class"].to_pylist() == classes
  for found, expected in zip(table["features"].to_pylist(), each, strict=True):
    np.testing.assert_array_equal(np.array(found, np.float32), expected)


@pytest.mark.parametrize(
  "kind", ["npz", "safetensors", "array_record", "parquet"]
)
def test_stopped_and_gone_on(
  kind, trained, inputs, tmp_path, monkeypatch, capsys
):
  whole, out = tmp_path / f"whole.{kind}", tmp_path / f"x.{kind}"
  given = trained["vision"], inputs["vision"]
  assert run(*given, whole, "--batch_size=2") == 0
  read_image = ImageFolder.__getitem__

  def stop(self, index):
    if index == 13:
      raise KeyboardInterrupt
    return read_image(self, index)

  with monkeypatch.context() as m:
    m.setattr(ImageFolder, "__getitem__", stop)
    assert run(*given, out, "--batch_size=2") == 130
  assert "run the same command to go on" in capsys.readouterr().err
  assert not out.exists()
  index = tmp_path / f"x.{kind}.parts" / "index.jsonl"
  lines = index.read_bytes().splitlines()
  assert 0 < len(lines) < 7
  # Killed within a line; and the features before it are there.
  index.write_bytes(b"\n".join(lines)[:-3])
  assert run(*given, out, "--batch_size=2") == 0
  assert (
    f"going on after {2 * (len(lines) - 1)} of 21" in capsys.readouterr().err
  )
  assert out.read_bytes() == whole.read_bytes()
  assert not index.parent.exists()


def test_what_is_stored_is_not_computed_again(
  trained, inputs, tmp_path, monkeypatch, capsys
):
  out = tmp_path / "x.npz"
  given = trained["text"], inputs["text"], out
  with monkeypatch.context() as m:
    m.setitem(command.FORMATS, "npz", _full_disk)
    assert run(*given) == 2
  assert "error: [Errno 28] No space left" in capsys.readouterr().err
  with monkeypatch.context() as m:
    m.setattr(compute, "_stacked", None)
    assert run(*given, "--batch_size=3") == 0
  assert len(read(out).names) == 21


def _full_disk(path, table):
  raise OSError(28, "No space left on device")


def test_parts_of_another_request(
  trained, inputs, tmp_path, monkeypatch, capsys
):
  out = tmp_path / "x.npz"
  given = trained["text"], inputs["text"], out
  with monkeypatch.context() as m:
    m.setitem(command.FORMATS, "npz", _full_disk)
    assert run(*given) == 2
    capsys.readouterr()
    assert run(*given, "--layers=1") == 2
    assert (
      "x.npz.parts holds a part of something else (layers: 'final' -> '1'); "
      "ask for the same again, remove it, or add --overwrite"
    ) in capsys.readouterr().err
    other = tmp_path / "other.txt"
    other.write_text("word\n")
    assert run(trained["text"], other, out) == 2
    err = capsys.readouterr().err
    assert "examples: " in err and "input: " in err
  assert run(*given, "--layers=1", "--overwrite") == 0
  assert read(out).metadata["layers"] == "1"


def test_two_processes_do_not_mix(trained, inputs, tmp_path, capsys):
  import fcntl

  parts = tmp_path / "x.npz.parts"
  parts.mkdir()
  with (parts / "index.jsonl").open("ab") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    assert run(trained["text"], inputs["text"], tmp_path / "x.npz") == 2
  assert "another process is writing" in capsys.readouterr().err


def test_corrupt_files_are_named(trained, inputs, tmp_path, capsys):
  folder = tmp_path / "vision"
  shutil.copytree(inputs["vision"], folder)
  (folder / "cat/03.png").write_bytes(b"no image")
  (folder / "dog/20.png").write_bytes(b"")
  (folder / "cat/01.png").unlink()
  (folder / "cat/01.png").symlink_to(folder / "nowhere.png")
  bad = [str(folder / x) for x in ("cat/01.png", "cat/03.png", "dog/20.png")]
  out = tmp_path / "x.npz"
  assert run(trained["vision"], folder, out) == 0
  err = capsys.readouterr().err
  for name in bad:
    assert f"left out: {name}: " in err
  assert "18 examples, float32 [18, 16]; left out 3" in err
  got = read(out)
  assert got.metadata["skipped"] == bad
  good = [n for n in got.names if n not in bad]
  assert len(good) == 18
  clean = tmp_path / "clean.npz"
  assert run(trained["vision"], inputs["vision"], clean) == 0
  kept = [f"{inputs['vision']}{n.removeprefix(str(folder))}" for n in got.names]
  rows = [read(clean).names.tolist().index(n) for n in kept]
  close(got.features, read(clean).features[rows], 1e-6)
  capsys.readouterr()
  out.unlink()
  assert run(trained["vision"], folder, out, "--max_skipped=2") == 2
  assert (
    f"error: 3 examples cannot be used, more than --max_skipped=2: "
    f"{', '.join(bad)}; repair"
  ) in capsys.readouterr().err
  assert not out.exists()


def test_deep_images_are_scaled_as_is_said(trained, inputs, tmp_path, capsys):
  shallow, deep = {}, {}
  for i in range(3):
    grey = pictures.smooth(8, 8, channels=1, seed=i)[..., 0]
    shallow[f"{i}.png"] = pictures.encoded(grey, "PNG")
    wide = Image.fromarray(grey.astype(np.uint16) * 16)
    deep[os.fsdecode(b"caf\xe9%d.png" % i)] = pictures.encoded(wide, "PNG")
  recordings.write_files(tmp_path / "shallow", shallow)
  recordings.write_files(tmp_path / "deep", deep)
  recordings.write_files(tmp_path / "deep", {"0.heic": b"", ".x/1.png": b""})
  out = [tmp_path / f"{k}.npz" for k in range(3)]
  assert run(trained["vision"], tmp_path / "shallow", out[0]) == 0
  assert run(trained["vision"], tmp_path / "deep", out[1]) == 2
  assert "set config.data.range" in capsys.readouterr().err
  given = ("--range=0,4080", "--background=0")
  assert run(trained["vision"], tmp_path / "deep", out[2], *given) == 0
  err = capsys.readouterr().err
  one, other = read(out[0]), read(out[2])
  np.testing.assert_array_equal(one.features, other.features)
  few = (*given, "--max_pixels=63", "--max_skipped=0")
  assert (
    run(trained["vision"], tmp_path / "deep", tmp_path / "x.npz", *few) == 2
  )
  assert "8 x 8 pixels are more than max_pixels=63" in capsys.readouterr().err
  # Names are those of the files, whatever their bytes.
  assert all(os.path.exists(name) for name in other.names.tolist())
  said = (
    "left out 2 of 5 (40%): 1 hidden (.x); 1 with the ending .heic (0.heic)"
  )
  assert other.metadata["not_listed"] == said
  assert f"of the folder's files, {said}\n" in err
  assert one.metadata["not_listed"] == ""


def test_recordings_that_are_known_to_be_of_no_use(
  trained, inputs, tmp_path, capsys
):
  folder = tmp_path / "speech"
  shutil.copytree(inputs["speech"], folder)
  (folder / "yes/01.wav").write_bytes(b"no sound")
  silence = recordings.encoded(np.zeros(4000))
  (folder / "yes/03.wav").write_bytes(silence)
  out = tmp_path / "x.npz"
  assert run(trained["speech"], folder, out) == 0
  err = capsys.readouterr().err
  assert f"left out: {folder}/yes/01.wav: no sound: text\n" in err
  assert f"left out: {folder}/yes/03.wav: " in err
  bad = [f"{folder}/yes/0{i}.wav" for i in (1, 3)]
  assert read(out).metadata["skipped"] == bad


def test_tables(trained, inputs, tmp_path):
  files = examples_of("vision", inputs["vision"])
  for modality in ("vision", "speech"):
    files = examples_of(modality, inputs[modality])
    rows = [f"{f}\t{'ab'[i % 2]}\t{'abc'[i % 3]}" for i, f in enumerate(files)]
    table = tmp_path / f"{modality}.tsv"
    table.write_text("path\tsplit\tkind\n" + "\n".join(rows) + "\n")
    out = tmp_path / f"{modality}.npz"
    arguments = ("--split=b", "--label=kind")
    assert run(trained[modality], table, out, *arguments) == 0
    got = read(out)
    assert got.names.tolist() == [str(f) for f in files[1::2]]
    assert got.metadata["class_names"] == ["a", "b", "c"]
    assert got.labels.tolist() == [i % 3 for i in range(1, 21, 2)]
    rows = [f"{f}\t{'ab'[i % 2]};c" for i, f in enumerate(files[:3])]
    table.write_text("path\tkind\n" + "\n".join([*rows, f"{files[3]}\t"]))
    arguments = ("--label=kind", "--label_separator=;", "--overwrite")
    assert run(trained[modality], table, out, *arguments) == 0
    got = read(out)
    expected = [[1, 0, 1], [0, 1, 1], [1, 0, 1], [0, 0, 0]]
    assert got.labels.dtype == bool and got.labels.tolist() == expected
  table = tmp_path / "text.jsonl"
  row = {"a": "in the beginning", "b": "was a word", "stars": 5}
  empty = {"a": "", "b": "", "stars": 1}
  table.write_text("".join(json.dumps(r) + "\n" for r in (row, empty, row)))
  out = tmp_path / "text.npz"
  arguments = ("--column=a,b", "--label=stars", "--pool=tokens")
  assert run(trained["text"], table, out, *arguments) == 0
  got = read(out)
  assert got.names.tolist() == [f"{table}:1", f"{table}:3"]
  assert got.metadata["skipped"] == [f"{table}:2"]
  assert got.labels.tolist() == [1, 1]
  spelt = tokenizer.load(name="kjv").encode_batch([row["a"], row["b"]])
  assert got.offsets[1] == sum(map(len, spelt)) + 4


def test_of_a_run_that_has_learned_transcripts(trained, inputs, tmp_path):
  """Its labels are not those of the input."""
  workdir = tmp_path / "run"
  shutil.copytree(trained["speech"], workdir)
  record = json.loads((workdir / "run.json").read_text())
  record["config"]["data"]["labels"] = {"name": "characters", "max_length": 9}
  (workdir / "run.json").write_text(json.dumps(record))
  for run_dir, name in ((workdir, "tuned"), (trained["speech"], "pretrained")):
    out = tmp_path / f"{name}.npz"
    assert run(run_dir, inputs["speech"], out) == 0
  tuned, other = read(tmp_path / "tuned.npz"), read(tmp_path / "pretrained.npz")
  np.testing.assert_array_equal(tuned.labels, other.labels)
  np.testing.assert_array_equal(tuned.features, other.features)


@pytest.mark.parametrize("modality", ["vision", "speech"])
def test_a_single_file(modality, trained, inputs, tmp_path):
  folder, (one, *_) = inputs[modality], examples_of(modality, inputs[modality])
  assert run(trained[modality], one, tmp_path / "one.npz") == 0
  assert run(trained[modality], folder, tmp_path / "all.npz") == 0
  one, everything = read(tmp_path / "one.npz"), read(tmp_path / "all.npz")
  assert one.names.tolist() == everything.names[:1].tolist()
  close(one.features, everything.features[:1], 1e-6)


def test_several_devices(trained, inputs, tmp_path):
  given = trained["text"], inputs["text"]
  assert run(*given, tmp_path / "one.npz") == 0
  assert (
    run(*given, tmp_path / "all.npz", "--num_devices=8", "--batch_size=5") == 0
  )
  one, everything = read(tmp_path / "one.npz"), read(tmp_path / "all.npz")
  close(everything.features, one.features, 1e-6)


def test_image_size(trained, inputs, tmp_path):
  out = tmp_path / "x.npz"
  arguments = ("--image_size=12", "--pool=tokens", "--resize_ratio=1.5")
  assert run(trained["vision"], inputs["vision"], out, *arguments) == 0
  assert read(out).features.shape == (21 * 36, 16)
  assert read(out).metadata["options"]["image_size"] == 12


@pytest.mark.parametrize(
  ("modality", "option", "message"),
  [
    (
      "speech",
      "--max_seconds=0.3",
      "01.wav has 0.3875 s, more than 0.3 s (",
    ),
    ("text", "--max_tokens=12", " tokens, more than 12 tokens ("),
  ],
)
def test_too_long(modality, option, message, trained, inputs, tmp_path, capsys):
  out = tmp_path / "x.npz"
  given = trained[modality], inputs[modality], out, option, "--pool=tokens"
  assert run(*given) == 2
  err = capsys.readouterr().err
  assert err.count("error") == 1 and message in err, err
  assert "add --cut to use the beginning" in err
  assert run(*given, "--cut") == 0
  sizes = np.diff(read(out).offsets)
  assert len(sizes) == 21 and (sizes == sizes.max()).sum() > 1


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (("--run={tmp}/none",), "has no run.json, so it is not the workdir of a r"),
    (("--input={tmp}/none",), "--input: no such file or folder: "),
    (("--input={tmp}/empty",), "no images in "),
    (("--input={tmp}/broken.png",), "none of the 1 records can be read ("),
    (("--model=ema",), "unknown model 'ema'; choose one of: teacher, student"),
    (("--step=4",), "no checkpoint of step 4 in "),
    (("--layers=2",), "layer 2 is out of range; this model has depth 2"),
    (("--layers=2", "--pool=tokens"), "layer 2 is out of range; this model"),
    (("--layers=top",), "unknown layers 'top'; give numbers from 0 on"),
    (("--pool=max",), "unknown pool 'max'; choose one of: mean, cls, tokens"),
    (("--pool=cells:5",), "5 x 5 cells, and images have 4 x 4 patches here"),
    (("--pool=cells:2", "--image_size=2"), "take at most cells:1x1"),
    (("--pool=segments:8",), "is for tokens in time; of images take cells"),
    (("--output={tmp}/x.csv",), "unknown format 'csv'; choose one of: npz, "),
    (("--format=csv",), "unknown format 'csv'; choose one of: npz, safetens"),
    (("--output={tmp}/empty", "--format=npz"), "is a folder; give the name o"),
    (("--output={tmp}/there.npz",), "there.npz exists; choose another name, o"),
    (("--output={tmp}/there.npz/x.npz",), "cannot write --output="),
    (("--batch_size=0",), "--batch_size must be 1 or more, got 0"),
    (("--num_devices=99",), "asked for 99 devices, JAX sees 8"),
    (("--max_skipped=-1",), "--max_skipped must be >= 0, got -1"),
    (("--compute_dtype=float7",), "unknown 'float7'; choose one of: float32"),
    (("--image_size=9",), "image_size 9 is not a multiple of patch_size 2"),
    (("--resize_ratio=big",), "--resize_ratio must be a number of at least 1"),
    (("--resize_ratio=0.5",), "resize_ratio must be None or 1 to 10, got 0.5"),
    (("--range=5",), "--range must be two numbers, such as 0,4095, got '5'"),
    (("--range=5,5",), "range must be the two values that become 0 and 255"),
    (("--max_seconds=3",), "--max_seconds is for speech, signal, but "),
    (("--max_seconds=-3",), "--max_seconds must be > 0, got -3.0"),
    (("--cut",), "--cut is for speech, signal, text, but "),
    (("--split=test",), "--split: only for tables (.csv, .tsv, .jsonl, "),
    (("--input={tmp}/t.tsv",), "has no column 'path'; it has: file"),
  ],
)
def test_errors(arguments, message, trained, inputs, tmp_path, capsys):
  (tmp_path / "empty").mkdir()
  (tmp_path / "broken.png").write_bytes(b"no image")
  (tmp_path / "there.npz").write_bytes(b"kept")
  (tmp_path / "t.tsv").write_text("file\na.png\n")
  before = sorted(p.name for p in tmp_path.iterdir())
  given = [a.format(tmp=tmp_path) for a in arguments]
  assert (
    run(trained["vision"], inputs["vision"], tmp_path / "x.npz", *given) == 2
  )
  err = capsys.readouterr().err
  assert err.startswith("error: ") and err.count("\n") == 1, err
  assert message in err
  assert sorted(p.name for p in tmp_path.iterdir()) == before
  assert (tmp_path / "there.npz").read_bytes() == b"kept"


@pytest.mark.parametrize(
  ("modality", "argument", "message"),
  [
    ("speech", "--pool=cls", "this model has no CLS token"),
    ("speech", "--pool=cells:2", "is for images, whose tokens have rows"),
    ("text", "--pool=cells:2", "of others take segments, such as"),
    (
      "text",
      "--max_tokens=65",
      "--max_tokens=65: the network takes at most 64",
    ),
    ("text", "--column=a,b,c", "--column: only for tables"),
    ("text", "--tokenizer=none", "none"),
  ],
)
def test_errors_of_speech_and_text(
  modality, argument, message, trained, inputs, tmp_path, capsys
):
  out = tmp_path / "x.npz"
  assert run(trained[modality], inputs[modality], out, argument) == 2
  err = capsys.readouterr().err
  assert err.startswith("error: ") and message in err, err


def test_overwrite(trained, inputs, tmp_path):
  out = tmp_path / "x.npz"
  out.write_bytes(b"old")
  assert run(trained["vision"], inputs["vision"], out, "--overwrite") == 0
  assert len(read(out).names) == 21


def test_traceback(monkeypatch, tmp_path):
  monkeypatch.setenv("D2V_TRACEBACK", "1")
  with pytest.raises(ValueError, match="has no run"):
    run(tmp_path, tmp_path, tmp_path / "x.npz")


def test_features_that_are_not_finite(
  trained, inputs, tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(
    pretrained.Pretrained, "extract", lambda *_: np.full((21, 16), np.nan)
  )
  out = tmp_path / "x.npz"
  assert run(trained["vision"], inputs["vision"], out) == 2
  assert "are not finite: the network has diverged" in capsys.readouterr().err
  assert list(tmp_path.iterdir()) == []


def test_the_page_on_features(trained, inputs, tmp_path, monkeypatch, capsys):
  """All its commands work, and what they write is read as it says."""
  (tmp_path / "runs").mkdir()
  for name, modality in (
    ("images", "vision"),
    ("speech", "speech"),
    ("text", "text"),
  ):
    (tmp_path / "runs" / name).symlink_to(trained[modality])
  (tmp_path / "photos").symlink_to(inputs["vision"])
  (tmp_path / "recordings").symlink_to(inputs["speech"])
  (tmp_path / "books").mkdir()
  shutil.copy(inputs["text"], tmp_path / "books")
  lines = inputs["text"].read_text().splitlines()
  rows = [f"{x}\t{'ab'[i % 2]}\ttest" for i, x in enumerate(lines)]
  table = "\n".join(["text\tlabel\tsplit", *rows])
  (tmp_path / "reviews.tsv").write_text(table)
  monkeypatch.chdir(tmp_path)
  blocks = docs_test.blocks("docs/features.md")
  count = 0
  for block in blocks:
    for words in docs_test.commands(block):
      assert words[:2] == ["d2v", "features"]
      status = docs_test.call(words, ("--num_devices=1",))
      assert status == 0, capsys.readouterr().err
      count += 1
    if block.startswith("import "):
      exec(compile(block, "docs/features.md", "exec"), {})
  assert count == 4
  text = (runs.ROOT / "docs/features.md").read_text()
  flags = set(re.findall("--([a-z_]+)", text)) - {"num_devices"}
  with pytest.raises(SystemExit):
    command.main(["--help"])
  assert flags <= set(re.findall("--([a-z_]+)", capsys.readouterr().out))


def test_help(capsys):
  with pytest.raises(SystemExit) as stopped:
    command.main(["--help"])
  assert stopped.value.code == 0
  out = capsys.readouterr().out
  assert "Several processes do not share the" in out and "--layers" in out
