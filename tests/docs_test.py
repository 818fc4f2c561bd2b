"""Every command of the pages works, at a small size."""

import importlib
import json
import pathlib
import re
import shlex

import cv2
import numpy as np
import pytest

from tests import runs
from tests.data.speech import recordings

# What makes the pages' runs small; only sizes, so that a wrong flag shows.
_RUN = (
  "--config.num_devices=1",
  "--config.total_steps=2",
  "--config.batch_size=2",
  "--config.schedule.warmup_steps=1",
  "--config.encoder.width=16",
  "--config.encoder.num_heads=2",
)
_VOCABULARY = 270
SMALL = {
  ("speech", "d2v_jax.main"): (
    *_RUN,
    "--config.schedule.hold_steps=0",
    "--config.encoder.conv_layers=((8, 16, 8), (8, 10, 5), (8, 8, 8))",
  ),
  ("text", "d2v_jax.main"): (
    *_RUN,
    f"--config.encoder.vocab_size={_VOCABULARY}",
  ),
  ("vision", "d2v_jax.main"): (*_RUN, "--config.data.num_threads=2"),
  ("convert", "d2v_jax.main"): _RUN,
  ("text", "d2v_jax.data.text.tokenizer"): (f"--vocab_size={_VOCABULARY}",),
}
# What only probes has the network of a run, which is small already.
PROBES = ("--config.num_devices=1",)
PAGES = ("convert", "speech", "text", "vision")
_COMMAND = "python -m "


def blocks(page):
  """The page's indented blocks, without the indentation."""
  text = (runs.ROOT / page).read_text()
  found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.MULTILINE)
  return [re.sub("^    ", "", x, flags=re.MULTILINE).strip() for x in found]


def commands(block):
  """The block's command lines as a shell sees them, as lists of words."""
  lines = block.replace("\\\n", "").splitlines()
  return [shlex.split(line) for line in lines if line.startswith(_COMMAND)]


def is_probe(arguments):
  """Whether a command trains nothing but probes."""
  configs = [x for x in arguments if x.startswith("--config=configs/probe_")]
  return bool(configs) and "attentive" not in configs[0]


def call(page, words):
  """Runs a command in this process; returns its exit status."""
  _, _, module, *arguments = words
  small = SMALL.get((page, module), ())
  small = PROBES if is_probe(arguments) else small
  # Otherwise the run is small already.
  if "--mode=evaluate" not in arguments:
    arguments += small
  if "--config=configs/finetune_imagenet.py" in arguments:
    arguments += ("--config.objective.mixing.group=None",)
  return importlib.import_module(module).main(arguments)


def write_speech(folder):
  """Two words by two speakers with transcripts, and a LibriSpeech."""
  files = {}
  for i in range(36):
    word, frequency = (("yes", 200), ("no", 300))[i % 2]
    speaker, kind = ("ben", "flac") if i % 3 == 2 else ("anna", "wav")
    name = f"recordings/{word}/{speaker}-{i + 1:02d}"
    sound = recordings.sine(7000 + 50 * i, frequency=frequency)
    files[f"{name}.{kind}"] = recordings.encoded(sound, kind)
    files[f"{name}.txt"] = f"{word}\n"
  subsets = (
    "train-clean-100 train-clean-360 train-other-500 dev-clean dev-other "
    "test-clean test-other"
  )
  for subset in subsets.split():
    chapter = f"LibriSpeech/{subset}/19/198/19-198"
    sound = recordings.sine(33_000)
    files[f"{chapter}-0000.flac"] = recordings.encoded(sound, "flac")
    files[f"{chapter}.trans.txt"] = "19-198-0000 NORTHANGER ABBEY\n"
  files["words.arpa"] = (
    "\\data\\\nngram 1=4\n\n\\1-grams:\n"
    "-9 <s>\n-1 </s>\n-0.5 yes\n-0.5 no\n\n\\end\\\n"
  )
  recordings.write_files(folder, files)


def write_vision(folder):
  """Two classes of images, and an ImageNet of one image a class."""
  rng = np.random.default_rng(0)
  names = [
    f"images/{split}/{kind}/{i}.png"
    for split, count in (("train", 30), ("test", 8))
    for kind in ("cat", "dog")
    for i in range(count)
  ]
  names += [
    f"imagenet/{split}/n{i:08d}/{i}.JPEG"
    for split in ("train", "val")
    for i in range(1000)
  ]
  files = {}
  for name in names:
    pixels = rng.integers(0, 156, (8, 8, 3)) + 99 * ("cat" in name)
    _, data = cv2.imencode(pathlib.Path(name).suffix, pixels.astype(np.uint8))
    files[name] = data.tobytes()
  recordings.write_files(folder, files)


def write_text(folder):
  """Documents of random words, and tables of them."""
  rng = np.random.default_rng(0)
  words = ["".join(rng.choice(list("abcdefgh"), 5)) for _ in range(50)]

  def sentences(number):
    return [" ".join(rng.choice(words, 8)) for _ in range(number)]

  reviews, pairs = ["text\tlabel\tsplit"], ["text\ttext_b\tscore\tsplit"]
  for i, (a, b) in enumerate(zip(sentences(40), sentences(40), strict=True)):
    split = "test" if i % 4 == 3 else "train"
    reviews.append(f"{a}\t{('bad', 'good')[i % 2]}\t{split}")
    pairs.append(f"{a}\t{b}\t{i / 8}\t{split}")
  files = {
    "books/a.txt": "\n".join(sentences(30)) + "\n",
    "books/more/b.txt": "\n\n".join(sentences(10)) + "\n",
    "reviews.tsv": "\n".join(reviews) + "\n",
    "pairs.tsv": "\n".join(pairs) + "\n",
  }
  for name in ("train", "dev"):
    a, b = sentences(40), sentences(40)
    labels = ("entailment", "not_entailment") * 20
    rows = ["index\tsentence1\tsentence2\tlabel"]
    rows += ["\t".join(r) for r in zip("0" * 40, a, b, labels, strict=True)]
    files[f"glue_data/RTE/{name}.tsv"] = "\n".join(rows) + "\n"
  recordings.write_files(folder, files)


def recorded(folder):
  """Names of all that the runs in a folder measured."""
  names = set()
  for file in folder.glob("runs/*/metrics.jsonl"):
    names |= {k for line in runs.metrics(file.parent) for k in line}
  for file in folder.glob("runs/*/evaluation.json"):
    names |= json.loads(file.read_text()).keys()
  return names


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_works(
  page, tmp_path, monkeypatch, capsys, cached_compilation
):
  write = {"speech": write_speech, "text": write_text, "vision": write_vision}
  write.get(page, lambda folder: None)(tmp_path)
  (tmp_path / "configs").symlink_to(runs.ROOT / "configs")
  monkeypatch.chdir(tmp_path)
  for block in blocks(f"docs/{page}.md"):
    for words in commands(block):
      status = call(page, words)
      assert status == 0, f"{shlex.join(words)}\n{capsys.readouterr().err}"
    if block.startswith("import "):
      exec(compile(block, f"docs/{page}.md", "exec"), {})
  text = (runs.ROOT / f"docs/{page}.md").read_text()
  metrics = re.findall(r"`(\w+/\w+)`", text)
  assert metrics
  assert set(metrics) <= recorded(tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_found(page):
  """Also those that a change of the page's layout would hide."""
  text = (runs.ROOT / f"docs/{page}.md").read_text()
  found = [c for b in blocks(f"docs/{page}.md") for c in commands(b)]
  assert len(found) == text.count(_COMMAND) > 5
  for words in found:
    for word in words:
      if word.startswith("--config="):
        file = word.removeprefix("--config=").partition(":")[0]
        assert (runs.ROOT / file).is_file(), word


def test_the_readme_repeats_the_pages():
  """So its commands for speech and text are run with them."""
  pages = [
    c for p in PAGES for b in blocks(f"docs/{p}.md") for c in commands(b)
  ]
  of_pages = ("d2v_jax.data.", "audio_folder", "text_files")
  own = [c for b in blocks("README.md") for c in commands(b)]
  own = [c for c in own if any(name in " ".join(c) for name in of_pages)]
  assert len(own) == 4
  for words in own:
    assert words in pages, shlex.join(words)
