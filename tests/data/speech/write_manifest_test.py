import csv
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from d2v_jax.data.speech import write_manifest
from d2v_jax.data.speech.examples import Utterances
from d2v_jax.data.speech.manifest import Manifest
from d2v_jax.data.speech.sources import AudioFolder, LibriSpeech
from tests.data.speech.recordings import encoded, sine, write_files


@pytest.fixture
def folder(tmp_path):
  files = {
    f"data/{'ab'[k % 2]}/{k}.flac": encoded(sine(800 + k), "flac", 8000)
    for k in range(6)
  }
  return write_files(tmp_path, files) / "data"


def run(*arguments):
  return write_manifest.main([str(a) for a in arguments])


def rows(path):
  with path.open(newline="") as file:
    return list(csv.reader(file, delimiter="\t"))


def test_folder(folder, capsys):
  out = folder / "all.tsv"
  assert run(folder, out) == 0
  truth = [["path", "num_samples", "rate", "label"]]
  truth += [
    [f"{c}/{k}.flac", str(800 + k), "8000", c]
    for c, k in sorted(("ab"[k % 2], k) for k in range(6))
  ]
  assert rows(out) == truth
  err = capsys.readouterr().err
  assert "read 6 of 6 files\n" in err and "6 recordings, 0.00 h; left" in err
  made, scanned = Manifest(str(out), label="label"), AudioFolder(str(folder))
  assert [made[i] for i in range(6)] == [scanned[i] for i in range(6)]
  lengths = made.lengths(16_000)
  np.testing.assert_array_equal(lengths, scanned.lengths(16_000))
  assert list(folder.parent.rglob("*.unfinished")) == []


def test_paths_outside_are_absolute(folder, tmp_path, monkeypatch):
  monkeypatch.chdir(folder.parent)
  assert run("data", "lists/all.tsv") == 0
  paths = [row[0] for row in rows(tmp_path / "lists/all.tsv")[1:]]
  assert paths[0] == str(folder / "a/0.flac")
  assert Manifest("lists/all.tsv").record_name(0) == paths[0]


def test_unreadable_files_are_named(folder, capsys):
  write_files(folder, {"a/broken.wav": "no audio", "b/empty.wav": b""})
  assert run(folder, folder / "all.tsv") == 0
  assert len(rows(folder / "all.tsv")) == 7
  err = capsys.readouterr().err
  for name, reason in (
    ("a/broken.wav", "no sound: text"),
    ("b/empty.wav", "empty"),
  ):
    assert f"left out: {folder / name}: {reason}\n" in err
  assert "left out 2\n" in err


def test_manifests_find_what_training_would(folder, capsys):
  whole = encoded(sine(9000), "flac")
  files = {
    "a/cut.flac": whole[: len(whole) // 2],
    "a/silent.wav": encoded(np.zeros(900)),
    "b/tail.flac": whole + bytes(500),
  }
  write_files(folder, files)
  assert run(folder, folder / "all.tsv") == 0
  err = capsys.readouterr().err
  for name, reason in (
    ("cut.flac", "damaged or cut"),
    ("silent.wav", "silent"),
  ):
    assert f"left out: {folder}/a/{name}: {reason}" in err
  assert len(rows(folder / "all.tsv")) == 8
  used = Utterances(Manifest(str(folder / "all.tsv")))
  assert [used.problem(i) for i in range(len(used))] == [None] * 7
  # Headers say less.
  assert run(folder, folder / "fast.tsv", "--headers") == 0
  assert len(rows(folder / "fast.tsv")) == 10


def test_manifests_suggest_lengths(tmp_path, capsys):
  sizes = [4000] * 6 + [8000] * 3 + [15_999]
  files = {f"{k}.wav": encoded(sine(n)) for k, n in enumerate(sizes)}
  folder = write_files(tmp_path / "data", files)
  assert run(folder, tmp_path / "all.tsv") == 0
  err = capsys.readouterr().err
  assert "seconds: 0 % up to 0.25, " in err and "100 % up to 1.00\n" in err
  assert "hold all, 0% of them padding: " in err
  assert '--config.data.buckets.lengths="(4000, 8000, 16000)"' in err


def test_librispeech(tmp_path):
  files = {
    "train/7/5/7-5-0.flac": encoded(sine(900), "flac"),
    "train/7/5/7-5.trans.txt": "7-5-0 A TEXT\n",
    "dev/8/5/8-5-0.flac": encoded(sine(901), "flac"),
    "dev/8/5/8-5.trans.txt": "8-5-0 MORE\n",
  }
  write_files(tmp_path, files)
  out = tmp_path / "all.tsv"
  assert run(tmp_path, out, "--librispeech", "--subsets", "train,dev") == 0
  assert rows(out) == [
    ["path", "num_samples", "rate", "split", "speaker", "text"],
    ["train/7/5/7-5-0.flac", "900", "16000", "train", "7", "A TEXT"],
    ["dev/8/5/8-5-0.flac", "901", "16000", "dev", "8", "MORE"],
  ]
  made = Manifest(str(out), split="dev")
  assert made[0] == LibriSpeech(str(tmp_path), ("dev",))[0]


def test_a_manifest_is_completed(folder):
  given = folder / "given.jsonl"
  given.write_text(
    '{"path": "a/0.flac", "text": "a\\tb\\nc", "seconds": 1}\n'
    '{"text": "d", "path": "b/1.flac", "seconds": 2}\n'
  )
  assert run(given, folder / "all.tsv") == 0
  assert rows(folder / "all.tsv") == [
    ["path", "num_samples", "rate", "text", "seconds"],
    ["a/0.flac", "800", "8000", "a\tb c", "1"],
    ["b/1.flac", "801", "8000", "d", "2"],
  ]


def test_shards(folder, tmp_path, capsys):
  write_files(folder, {"a/broken.wav": "no audio"})
  out = tmp_path / "packed" / "all.tsv"
  assert run(folder, out, "--shards", 4) == 0
  names = [f"all-{k:05d}-of-00004.array_record" for k in range(4)]
  assert sorted(p.name for p in out.parent.iterdir()) == sorted(
    [*names, "all.tsv"]
  )
  table = rows(out)
  assert table[0] == ["path", "record", "num_samples", "rate", "label"]
  assert [row[:2] for row in table[1:]] == [
    *([names[0], "0"], [names[1], "0"], [names[1], "1"]),
    *([names[2], "0"], [names[3], "0"], [names[3], "1"]),
  ]
  packed = Manifest(str(out), label="label")
  (folder / "a/broken.wav").unlink()
  loose = AudioFolder(str(folder))
  assert [packed[i] for i in range(6)] == [loose[i] for i in range(6)]
  assert packed.record_name(2) == f"{out.parent / names[1]}[1]"
  np.testing.assert_array_equal(packed.lengths(16_000), loose.lengths(16_000))
  one, other = Utterances(packed)[4], Utterances(loose)[4]
  np.testing.assert_array_equal(one["samples"], other["samples"])
  assert "packed 4 of 4 shards\n" in capsys.readouterr().err


def test_shards_without_lengths(folder, tmp_path):
  out = tmp_path / "all.tsv"
  run(folder, out, "--shards", 1)
  short = tmp_path / "short.tsv"
  short.write_text("".join(f"{row[0]}\t{row[1]}\n" for row in rows(out)))
  expected = Manifest(str(out)).lengths(16_000)
  np.testing.assert_array_equal(Manifest(str(short)).lengths(16_000), expected)
  # And back: records stay records.
  assert run(short, tmp_path / "again.tsv") == 0
  assert [row[:4] for row in rows(tmp_path / "again.tsv")] == [
    row[:4] for row in rows(out)
  ]
  short.write_text("path\trecord\n" + f"{rows(out)[1][0]}\t6\n")
  with pytest.raises(ValueError, match=r"short.tsv:2: record 6, .* 6 records"):
    Manifest(str(short))


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (("{folder}", "{folder}/all.csv"), "OUT must end in .tsv, got "),
    (("{folder}", "{folder}/x.tsv", "--shards", "-1"), "must be >= 0, got -1"),
    (("{folder}", "{folder}/x.tsv", "--shards", "7"), "6 of 6 files can be re"),
    (("{folder}/none", "{folder}/x.tsv"), "none' is not a folder; check the"),
    (("{folder}", "{folder}/x.tsv", "--subsets", "a"), "--librispeech only"),
    (
      ("{folder}", "{folder}/x.tsv", "--librispeech"),
      "set subsets to some of: a, b",
    ),
    (
      ("{folder}", "{folder}/there.tsv"),
      "there.tsv exists; choose another OUT",
    ),
  ],
)
def test_errors(folder, capsys, arguments, message):
  (folder / "there.tsv").write_text("kept")
  assert run(*(a.format(folder=folder) for a in arguments)) == 2
  err = capsys.readouterr().err
  assert "error: " in err and message in err
  assert (folder / "there.tsv").read_text() == "kept"
  assert not (folder / "x.tsv").exists()


def test_force(folder):
  (folder / "all.tsv").write_text("old")
  assert run(folder, folder / "all.tsv", "--force") == 0
  assert len(rows(folder / "all.tsv")) == 7


def test_any_name_that_a_table_holds(folder, capsys):
  names = ["0\t.flac", 'say "a".flac', os.fsdecode(b"caf\xe9.flac")]
  for k, name in enumerate(names):
    os.rename(folder / f"{'ab'[k % 2]}/{k}.flac", folder / "a" / name)
  (folder / "b/3.flac").rename(folder / "b/3\n.flac")
  latin = os.fsdecode(b"\xff")
  (folder / "b").rename(folder / latin)
  assert run(folder, folder / "all.tsv") == 0
  err = capsys.readouterr().err
  assert r"/3\n.flac: a line break in its name" in err
  made = Manifest(str(folder / "all.tsv"), label="label")
  files = {str(folder / "a" / name) for name in names}
  assert files < {made.record_name(i) for i in range(len(made))}
  assert made.class_names == ("a", latin)
  assert len([made[i]["audio"] for i in range(len(made))]) == 5
  assert run(folder, folder / "packed.tsv", "--shards", 1) == 0
  assert len(Manifest(str(folder / "packed.tsv"))) == 6


def test_as_a_command(folder):
  command = [sys.executable, "-m", "d2v_jax", "manifest"]
  root = pathlib.Path(__file__).parents[3]
  text = subprocess.run(
    [*command, "--help"], cwd=root, capture_output=True, text=True, check=True
  ).stdout
  assert "SOURCE OUT.tsv" in text and "--shards" in text
  done = subprocess.run(
    [*command, str(folder), str(folder / "all.tsv")], cwd=root, check=False
  )
  assert done.returncode == 0 and len(rows(folder / "all.tsv")) == 7
