"""The command `d2v check` as its user sees it."""

import html
import json
import re

import numpy as np
import pytest
from PIL import Image

from d2v_jax import commands, config_file
from tests import runs
from tests.data.images.pictures import noise
from tests.data.speech.recordings import encoded, sine

SOURCE, TEST = "config.data.source", "config.evaluation.test"


@pytest.fixture
def checked(capsys):
  """Runs it; returns the exit status and what it prints."""

  def checked(*arguments):
    status = commands.main(["check", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert err == ""
    return status, out

  return checked


@pytest.fixture
def report(checked):
  """Runs it with --json; returns the exit status, the object and findings."""

  def report(*arguments):
    status, out = checked(*arguments, "--json")
    made = json.loads(out)
    assert status == (2 if made["stops"] else 0)
    return made, [finding["text"] for finding in made["findings"]]

  return report


@pytest.fixture
def folder(tmp_path):
  """Images: two classes of 3 and 1 to train on, and of 1 and 1 to test."""
  names = (
    "train/cat/a train/cat/b train/cat/c train/dog/a test/cat/x test/dog/y"
  )
  for k, name in enumerate(names.split()):
    path = tmp_path / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(shape=(20 + k, 30)) + np.uint8(k)).save(path)
  return tmp_path


def on(folder, config="image_folder", **more):
  paths = [f"--config.{SOURCE[7:]}.path={folder / 'train'}"]
  paths += [
    f"--config.evaluation.{split}.path={folder / split}"
    for split in ("train", "test")
  ]
  return [config, *paths, *(f"--config.{k}={v}" for k, v in more.items())]


def texts_with(findings, *words):
  return [x for x in findings if all(word in x for word in words)]


def test_a_page(folder, checked):
  status, page = checked(*on(folder))
  assert status == 0
  lines = page.splitlines()
  assert lines[0] == "image_folder: nothing was found."
  assert max(map(len, lines)) <= 80
  for line in (
    r"data\.source +4 +4 +0 +0",
    r"evaluation\.train +the same as data\.source",
    r"looked at in evaluation\.test, and in data\.source, too: 0",
    r"cat +3 +75\.0% +1 +50\.0%",
    r"dog +1 +25\.0% +1 +50\.0%",
    r"  width, pixels( +30){7}",
    r"  height, pixels +20 .* 23",
    r"  format: PNG \(4\)",
    r"  channels: RGB \(4\)",
    r"  tokens of an example: 64",
    r"  [\d,]+ examples a second by 4 threads here: .* for all 4",
  ):
    assert any(re.fullmatch(line, x) for x in lines), line


def test_the_numbers(folder, report):
  made, findings = report(*on(folder))
  assert findings == [] and made["shared"] == {f"{SOURCE} and {TEST}": 0}
  split = made["splits"][SOURCE]
  assert split["classes"] == {
    "cat": {"count": 3, "share": 0.75},
    "dog": {"count": 1, "share": 0.25},
  }
  images = [np.asarray(Image.open(x)) for x in folder.glob("train/*/*.png")]
  # Each image counts the same.
  values = [x.astype(np.float64).reshape(-1, 3) / 255 for x in images]
  mean = np.mean([x.mean(0) for x in values], axis=0)
  square = np.mean([(x**2).mean(0) for x in values], axis=0)
  np.testing.assert_allclose(split["mean"], mean, rtol=1e-10)
  np.testing.assert_allclose(split["std"], (square - mean**2) ** 0.5, rtol=1e-9)
  heights = np.quantile([20, 21, 22, 23], [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
  spread = split["numbers"]["height, pixels"]
  np.testing.assert_allclose(list(spread.values()), heights)
  training = made["training"]
  assert training["batches"] == [{"length": None, "tokens": 64, "examples": 4}]
  assert (training["masks"], training["read"]) == (1, 4)
  assert 0.2 <= training["kept"]["0 %"] <= training["kept"]["100 %"] <= 1
  assert training["epoch_seconds"] > 0


def test_a_sample(folder, report):
  made, findings = report(*on(folder), "--sample=2")
  assert findings == []
  split = made["splits"][SOURCE]
  assert (split["records"], split["looked_at"]) == (4, 2)
  # Folders say the labels of all.
  assert split["classes"]["cat"]["count"] == 3 and split["classes_of_all"]


def test_a_sample_of_a_class_that_cannot_be_read(folder, report):
  for k in range(3):
    fox = folder / f"train/fox/{k}.png"
    fox.parent.mkdir(exist_ok=True)
    fox.write_bytes(b"words")
  # Of seven records one is left out, and looked at if it is a fox.
  _, findings = report(*on(folder), "--sample=6")
  assert texts_with(findings, "nothing of the class fox can be read, 3 of 3")


def test_what_is_wrong_with_images(folder, report):
  train, test = folder / "train", folder / "test"
  whole = (train / "cat/a.png").read_bytes()
  (train / "dog/copy.png").write_bytes(whole)
  # The same pixels in another file.
  Image.open(train / "cat/b.png").save(test / "cat/leak.tiff")
  (train / "cat/cut.png").write_bytes(whole[: len(whole) // 2])
  Image.new("RGB", (9, 9)).save(train / "cat/black.png")
  made, findings = report(*on(folder))
  split = made["splits"][SOURCE]
  assert not made["stops"] and len(findings) == 4
  (bad,) = split["unreadable"]
  assert bad == {"reason": "cut short", "records": [str(train / "cat/cut.png")]}
  assert texts_with(findings, SOURCE, "1 of 7 records", "cut short")
  assert split["odd"] == {"near-black": [str(train / "cat/black.png")]}
  assert texts_with(findings, SOURCE, "near-black: 1 of 7 records")
  assert split["duplicates"] == [
    [str(train / "cat/a.png"), str(train / "dog/copy.png")]
  ]
  assert texts_with(
    findings, "1 of 6 examples", "1 of them under another label"
  )
  assert made["shared"] == {f"{SOURCE} and {TEST}": 1}
  assert texts_with(findings, f"1 of 3 examples of {TEST}", "leak.tiff = ")


def test_what_stops_a_run(folder, report, checked):
  (folder / "train/fox").mkdir()
  (folder / "train/fox/a.png").write_bytes(b"words")
  made, findings = report(*on(folder))
  assert made["stops"] and made["findings"][0]["stops"]
  assert "the splits have different classes" in findings[0]
  assert texts_with(findings, TEST, "no example of 1 of 3 classes (fox)")
  assert texts_with(findings, "nothing of the class fox can be read, 1 of 1")
  (folder / "train/fox/notes.txt").touch()
  few = on(folder, **{"data.max_corrupt": 0})
  made, findings = report(*few)
  assert texts_with(findings, "more than config.data.max_corrupt=0")
  # Those that stop it stand first, also before warnings.
  stops = [finding["stops"] for finding in made["findings"]]
  assert stops == sorted(stops, reverse=True) and stops.count(True) == 2
  status, page = checked(*few)
  assert status == 2 and page.startswith("- STOPS A RUN: ")
  gone, findings = report(*on(folder / "nowhere"))
  assert gone["splits"] == {SOURCE: {}, TEST: {}, "config.evaluation.train": {}}
  assert all("is not a folder" in x for x in findings) and len(findings) == 3


def test_classes_that_are_not_learned_may_differ(folder, report):
  fox = folder / "train/fox/a.png"
  fox.parent.mkdir()
  fox.write_bytes((folder / "train/dog/a.png").read_bytes()[:-1] + b"x")
  both = {"evaluation.train.path": folder / "test"}
  made, findings = report(*on(folder, **both))
  assert not made["stops"]
  assert texts_with(findings, "has no example of 1 of 3 classes (fox)")


def test_a_head_of_another_number_of_outputs(folder, report):
  supervised = {
    "objective": "dict(name='classification', head={'num_outputs': 5})",
    "data.mask": None,
    "evaluation.evaluators": None,
  }
  made, findings = report(*on(folder, **supervised))
  assert made["stops"]
  assert findings == [
    "config.objective.head.num_outputs: got 5, but the labels have 2 different "
    "values; set it to 2."
  ]


def test_a_test_split_that_is_trained_on(folder, report):
  path = {"evaluation.test.path": folder / "train"}
  made, (finding,) = report(*on(folder, **path))
  assert made["splits"][TEST] == {"same_as": SOURCE}
  assert f"{TEST} has the same records as {SOURCE}" in finding


def test_audio(tmp_path, report):
  seconds = {"train/a/1": 1, "train/a/2": 3, "train/b/1": 2, "test/a/1": 1}
  for k, (name, length) in enumerate({**seconds, "test/b/1": 2}.items()):
    path = tmp_path / f"{name}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = sine(samples=8000 * length, rate=8000, frequency=200 + 50 * k)
    path.write_bytes(encoded(wave, rate=8000))
  (tmp_path / "train/b/2.wav").write_bytes(encoded(np.zeros(16_000)))
  lengths = {"data.buckets": "dict(lengths=(16_000, 32_000))"}
  plain = {"data.min_samples": 0, "data.augment": "dict()", "batch_size": 2}
  command = on(tmp_path, "audio_folder", **lengths, **plain)
  made, findings = report(*command)
  split = made["splits"][SOURCE]
  assert not made["stops"], findings
  assert texts_with(findings, "1 of 4 records looked at", "2.wav): silent: its")
  assert split["stored_as"] == {
    "format": {"WAV PCM_16": 3},
    "channels": {"1": 3},
    "rate": {"8000 Hz": 3},
  }
  spread = split["numbers"]["length, seconds"]
  assert (spread["0 %"], spread["50 %"], spread["100 %"]) == (1.0, 2.0, 3.0)
  # Of 1, 3, 2 and the silent 1 seconds one is cut away.
  training = made["training"]["lengths"]
  assert training["cropped"] == pytest.approx(1 / 7)
  assert training["padding"] == 0.0 and training["best"] == [16_000, 48_000]
  assert texts_with(findings, SOURCE, "training crops 1 of 4 examples")
  assert texts_with(findings, "evaluation.train", "cuts 1 of 4 examples")
  counts = [x["examples"] for x in made["training"]["batches"]]
  assert counts == [2, 2]
  made, findings = report(*command, "--config.batch_size=8")
  assert made["stops"]
  assert "4 examples do not fill one batch of batch_size=8" in findings[0]


def test_texts(tmp_path, report):
  table = tmp_path / "texts.tsv"
  rows = ["train\tIn the beginning God\tlaw", "train\tAnd the earth\tlaw"]
  rows += ["train\tBlessed is he\tpoetry", "test\tIn  the beginning God\tlaw"]
  rows += ["test\tPraise ye\tpoetry", "train\t\tlaw"]
  table.write_text("\n".join(["split\ttext\tlabel", *rows]))

  def section(split):
    return dict(name="table", path=str(table), split=split, label="label")

  made, findings = report(
    runs.ROOT / "tests/configs/tiny_text.py",
    f"--config.data.source={section('train')}",
    f"--config.evaluation.train={section('train')}",
    f"--config.evaluation.test={section('test')}",
    "--config.data.packing=None",
    "--config.batch_size=2",
  )
  split = made["splits"][SOURCE]
  assert not made["stops"] and len(findings) == 3
  assert split["classes"]["law"] == {"count": 3, "share": 0.75}
  assert split["numbers"]["length, words"]["100 %"] == 4
  # White space is none of a text's content.
  assert texts_with(findings, f"1 of 2 examples of {TEST}", "texts.tsv:5 = ")
  assert texts_with(findings, "left out 1 of 4 records, which have no text")
  assert texts_with(findings, "without any word: 1 of 4 records")


def test_a_text_that_cannot_be_read(tmp_path, report):
  (tmp_path / "a.txt").write_bytes(b"caf\xe9\n")
  made, findings = report(
    runs.ROOT / "tests/configs/tiny_text.py",
    f"--config.data.source={dict(name='lines', path=str(tmp_path))}",
    "--config.evaluation.evaluators=None",
  )
  assert made["stops"] and made["splits"] == {SOURCE: {}}
  (text,) = findings
  assert text.startswith(f"{SOURCE}: TextFiles: cannot read {tmp_path}/a.txt: ")


def test_a_probe(tmp_path, report):
  config = {"modality": "vision", "encoder": {"name": "vit", "image_size": 8}}
  config["encoder"] |= {"patch_size": 2, "width": 8, "depth": 1, "num_heads": 2}
  config["data"] = {"channels": 1}
  (tmp_path / "run.json").write_text(json.dumps({"config": config}))
  made, findings = report("probe_digits", f"--config.init_from={tmp_path}")
  assert findings == [] and "training" not in made
  records = {k: x["records"] for k, x in made["splits"].items()}
  assert records == {TEST: 500, "config.evaluation.train": 1297}


def test_what_is_no_config(capsys):
  assert commands.main(["check", "digit"]) == 2
  assert "no config 'digit' (did you mean 'digits'?)" in capsys.readouterr().err
  with pytest.raises(SystemExit):
    commands.main(["check", "digits", "--sample=-1"])
  assert "must be 0 or more, got '-1'" in capsys.readouterr().err


# Pictures


def test_a_page_with_pictures(checked, folder, tmp_path):
  output = tmp_path / "page.html"
  status, out = checked(*on(folder), f"--output={output}")
  assert status == 0
  page = output.read_text(encoding="utf-8")
  assert "<h1>The data of image_folder</h1>" in page
  assert html.escape(out.splitlines()[0], quote=False) in page
  for split, names in (("train", "cat dog"), ("test", "cat dog")):
    _, _, rest = page.partition(f'<section id="evaluation-{split}">')
    section = rest.partition("</section>")[0]
    assert set(re.findall("<b>(.*?)</b>", section)) == set(names.split())
  _, _, seen = page.partition('<section id="what-the-network-sees">')
  masks = re.findall(r'aria-label="(\d+) of (\d+) patches', seen)
  ratio = config_file.load("image_folder").data.mask.ratio
  assert masks and all(int(x) == round(ratio * int(n)) for x, n in masks)


def test_the_page_is_written_where_a_run_would_stop(checked, tmp_path):
  output = tmp_path / "page.html"
  path = f"--config.data.source.path={tmp_path / 'gone'}"
  status, _ = checked("image_folder", path, f"--output={output}")
  assert status == 2
  page = output.read_text(encoding="utf-8")
  assert "STOPS A RUN: " in page
  assert "This cannot be shown: config.data.source: " in page


def test_the_page_cannot_be_written(tmp_path, capsys):
  output = f"--output={tmp_path / 'no' / 'page.html'}"
  assert commands.main(["check", "digits", output]) == 2
  assert "page.html" in capsys.readouterr().err
