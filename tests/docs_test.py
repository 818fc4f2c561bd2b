"""Every command and every piece of Python of the pages works, at a small size.

docs/features.md is run by tests/extraction/command_test.py.
"""

import importlib
import json
import pathlib
import re
import shlex
import types

import cv2
import numpy as np
import pytest
import safetensors.numpy

from d2v_jax import commands as commands_lib
from d2v_jax import config as config_lib
from d2v_jax import config_file
from d2v_jax.data.images.hf import HfImages
from d2v_jax.data.images.image_files import EXTENSIONS as IMAGES
from d2v_jax.data.mixture import Mixture
from d2v_jax.data.speech.sources import EXTENSIONS as AUDIO
from d2v_jax.data.table_files import ENDINGS as TABLES
from d2v_jax.data.text.text_files import EXTENSIONS as TEXT
from d2v_jax.objectives import OBJECTIVES
from tests import runs
from tests.data.speech import recordings

# What makes the pages' runs small; only sizes, so that a wrong flag shows.
_ALONE = (
  "--config.num_devices=1",
  "--config.total_steps=2",
  "--config.batch_size=2",
  # Parts of networks so small are sick, and cost a program to look at.
  "--config.health.every=0",
)
_RUN = (
  *_ALONE,
  "--config.schedule.warmup_steps=1",
  "--config.encoder.width=16",
  "--config.encoder.num_heads=2",
)
_VOCABULARY = 270
SMALL = {
  ("README", "train"): _RUN,
  ("continue", "train"): _ALONE,
  ("continue", "digits_d2v2"): _RUN,
  ("continue", "tones"): (*_RUN, "--config.schedule.hold_steps=0"),
  ("convert", "train"): _RUN,
  ("speech", "train"): (
    *_RUN,
    "--config.schedule.hold_steps=0",
    "--config.encoder.conv_layers=((8, 16, 8), (8, 10, 5), (8, 8, 8))",
  ),
  ("signals", "train"): _RUN,
  ("speech", "audio_spectrogram"): _RUN,
  ("text", "train"): (*_RUN, f"--config.encoder.vocab_size={_VOCABULARY}"),
  ("text", "tokenizer"): (f"--vocab_size={_VOCABULARY}",),
  ("vision", "train"): (*_RUN, "--config.data.num_threads=2"),
  ("objectives", "train"): (
    "--config.num_devices=1",
    "--config.total_steps=30",
    "--config.schedule.warmup_steps=5",
    "--config.encoder.width=16",
    "--config.encoder.num_heads=2",
    "--config.log_every=1",
  ),
}
_ONE_BUCKET = ("--config.data.buckets.lengths=(16_000,)",)
_BUCKETS = (
  "--config.data.buckets.lengths=(40_000, 80_000)",
  "--config.evaluation.buckets.lengths=(40_000, 80_000)",
)
# The same of single configs.
SMALL_CONFIGS = {
  "audio_folder": _ONE_BUCKET,
  "finetune_imagenet": ("--config.objective.mixing.group=None",),
  "finetune_librispeech:base_960h": _BUCKETS,
  "finetune_speech": _ONE_BUCKET,
  "own_speech": _ONE_BUCKET,
  "signals": ("--config.schedule.hold_steps=0",),
  "speech_base": _BUCKETS,
}
# What only probes has the network of a run, which is small already.
PROBE = ("--config.num_devices=1",)
# What makes evaluators short, where a page's config has them.
SHORT = {
  "linear_probe": ("steps=100",),
  "layer_curve": ("probe.steps=100",),
  "low_shot": ("per_class=(1, 5)", "seeds=2"),
}
PAGES = ("README", "continue", "convert", "signals", "speech", "text", "vision")
ALL_PAGES = sorted(p.stem for p in (runs.ROOT / "docs").glob("*.md"))
_COMMAND = re.compile("d2v [a-z]|python -m ")


def text_of(page):
  return (runs.ROOT / page).read_text()


def blocks(page):
  """The page's indented blocks, without the indentation."""
  found = re.findall(
    r"(?:^    .*\n|^\n+(?=    ))+", text_of(page), re.MULTILINE
  )
  return [re.sub("^    ", "", x, flags=re.MULTILINE).strip() for x in found]


def commands(block):
  """The block's command lines as a shell sees them, as lists of words."""
  lines = block.replace("\\\n", "").splitlines()
  return [shlex.split(line) for line in lines if _COMMAND.match(line)]


def call(words, small=()):
  """Runs a command in this process, with further arguments."""
  if words[0] == "d2v":
    return commands_lib.main([*words[1:], *small])
  _, _, module, *arguments = words
  return importlib.import_module(module).main([*arguments, *small])


def short_evaluators(words):
  """What makes the evaluators of a command's config short."""
  if any(word.startswith("--config.evaluation.evaluators=") for word in words):
    return ()
  flags = []
  evaluation = config_file.load(words[2]).get("evaluation", {})
  for key, section in evaluation.get("evaluators", {}).items():
    settings = SHORT.get(section.get("name", key), ())
    if section.get("seeds", 1) > 1:
      settings = (*settings, "seeds=2")
    flags += [f"--config.evaluation.evaluators.{key}.{x}" for x in settings]
  return tuple(flags)


def small(page, words):
  """What makes a command of a page small."""
  command, config = words[1:3]
  if command == "evaluate" and config.startswith("-"):
    return ()  # its run is small already
  # One page's runs show what they are compared with.
  alone = () if page == "README" else ("--config.evaluation.references=0",)
  if command == "probe" and config != "probe_attentive":
    return (*PROBE, *alone, *short_evaluators(words))
  if command not in ("train", "probe", "evaluate"):
    return SMALL.get((page, command), ())
  return (
    *SMALL.get((page, config), SMALL.get((page, "train"), ())),
    *SMALL_CONFIGS.get(config, ()),
    *alone,
    *short_evaluators(words),
  )


def write_photos(folder):
  """Images for a network of small grey ones."""
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (3, 9, 9)).astype(np.uint8)
  files = {
    f"photos/{i}.png": cv2.imencode(".png", x)[1].tobytes()
    for i, x in enumerate(pixels)
  }
  recordings.write_files(folder, files)


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


def write_signals(folder):
  """A BasicMotions, arrays, and a table of files."""
  rng = np.random.default_rng(0)
  motions = folder / "aeon/datasets/data/BasicMotions"
  motions.mkdir(parents=True)
  classes = ("Standing", "Running", "Walking", "Badminton")
  for split in ("TRAIN", "TEST"):
    lines = [f"@classLabel true {' '.join(classes)}", "@data"]
    for i in range(40):
      channels = rng.normal(0, 1 + i % 4, (6, 100)).round(3)
      values = [",".join(map(str, channel)) for channel in channels]
      lines.append(":".join([*values, classes[i % 4]]))
    (motions / f"BasicMotions_{split}.ts").write_text("\n".join(lines))
  np.savez(folder / "own.npz", signal=rng.normal(size=(6, 300, 3)))
  rows = ["path,who,rate"]
  (folder / "walks").mkdir()
  for i in range(6):
    np.savetxt(
      folder / f"walks/{i}.csv",
      rng.normal(size=(600, 4)),
      delimiter=",",
      header="t,ax,ay,az",
      comments="",
    )
    rows.append(f"{i}.csv,{('anna', 'ben')[i % 2]},{(50, 100)[i % 2]}")
  (folder / "walks/all.csv").write_text("\n".join(rows) + "\n")


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


def write_continue(folder):
  """A BERT of six layers, texts, photos and recordings."""
  write_photos(folder)
  write_speech(folder)
  write_text(folder)
  width, letters = 8, [chr(c) for c in range(ord("a"), ord("z") + 1)]
  tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
  tokens += [f"##{x}" for x in letters]
  sizes = dict(
    vocab_size=len(tokens),
    hidden_size=width,
    num_hidden_layers=6,
    num_attention_heads=2,
    intermediate_size=2 * width,
    max_position_embeddings=128,
  )
  shapes = {
    "embeddings.word_embeddings.weight": (len(tokens), width),
    "embeddings.position_embeddings.weight": (128, width),
    "embeddings.token_type_embeddings.weight": (2, width),
    "embeddings.LayerNorm.weight": (width,),
    "embeddings.LayerNorm.bias": (width,),
  }
  maps = {f"attention.self.{x}": 1 for x in ("query", "key", "value")}
  maps |= {"attention.output.dense": 1, "attention.output.LayerNorm": 0}
  maps |= {"intermediate.dense": 2, "output.dense": -2, "output.LayerNorm": 0}
  for layer in range(6):
    for name, ratio in maps.items():
      path, outputs = f"encoder.layer.{layer}.{name}", max(ratio, 1) * width
      inputs = (max(-ratio, 1) * width,) if ratio else ()
      shapes[f"{path}.weight"] = (outputs, *inputs)
      shapes[f"{path}.bias"] = (outputs,)
  rng = np.random.default_rng(0)
  arrays = {
    k: rng.normal(size=shape).astype(np.float32) for k, shape in shapes.items()
  }
  config = dict(model_type="bert", architectures=["BertModel"], **sizes)
  recordings.write_files(
    folder,
    {
      "bert/config.json": json.dumps(config),
      "bert/vocab.txt": "\n".join(tokens) + "\n",
      "bert/model.safetensors": safetensors.numpy.save(arrays),
    },
  )


def recorded(folder):
  """Names of all that the runs in a folder measured."""
  names = set()
  for file in folder.glob("runs/*/metrics.jsonl"):
    names |= {k for line in runs.metrics(file.parent) for k in line}
  for file in folder.glob("runs/*/evaluation.json"):
    names |= json.loads(file.read_text()).keys()
  return names


WRITE = {
  "README": write_photos,
  "continue": write_continue,
  "signals": write_signals,
  "speech": write_speech,
  "text": write_text,
  "vision": write_vision,
}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_works(page, tmp_path, monkeypatch, capsys):
  WRITE.get(page, lambda folder: None)(tmp_path)
  monkeypatch.chdir(tmp_path)
  for block in blocks(f"docs/{page}.md"):
    for words in commands(block):
      status = call(words, small(page, words))
      assert status == 0, f"{shlex.join(words)}\n{capsys.readouterr().err}"
    if block.startswith("import "):
      exec(compile(block, f"docs/{page}.md", "exec"), {})
  metrics = re.findall(r"`(\w+/\w+)`", text_of(f"docs/{page}.md"))
  assert metrics or page == "README"
  assert set(metrics) <= recorded(tmp_path)


def test_the_page_on_data_has_every_ending():
  table = re.search(r"^\| \|.*?\n\n", text_of("docs/data.md"), re.M | re.S)
  rows = table.group().splitlines()[2:]
  cells = [row.split("|")[3] for row in rows if row]
  said = {x for cell in cells for x in re.findall(r"`(\.\w+)`", cell)}
  read = {*IMAGES, *AUDIO, *TEXT, *TABLES}
  assert said == {f".{x.split('.')[-1]}" for x in read} - {".gz"}


def test_the_python_of_the_page_on_data(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  written = blocks("docs/data.md")
  given, sets = [block for block in written if block.startswith("import ")]
  # Runs of the same images that take seconds.
  for block in (given, sets):
    assert block.count('"digits"') == 1
    exec(block.replace('"digits"', repr(str(runs.ROOT / runs.TINY))), {})
  assert len(runs.losses(tmp_path / "runs/mine")) == 12
  measured = runs.metrics(tmp_path / "runs/sets")[-1]
  found, chance, classes = (
    measured[f"mean_average_precision/{name}"]
    for name in ("map", "chance", "classes")
  )
  assert found > chance + 0.1 and classes == 3
  for section in (x for x in written if x.startswith("c.data")):
    c = types.SimpleNamespace(data=types.SimpleNamespace())
    exec(section, {"c": c})
    config_lib.check(
      c.data.source, {"mixture": Mixture, "hf": HfImages}, "config.data.source"
    )


@pytest.mark.parametrize("page", ALL_PAGES)
def test_every_command_is_found(page):
  """Also those that a change of the page's layout would hide."""
  text = text_of(f"docs/{page}.md")
  found = [c for b in blocks(f"docs/{page}.md") for c in commands(b)]
  lines = re.findall(r"^[ $>]*(?:d2v [a-z]|python -m )", text, re.MULTILINE)
  assert len(found) == len(lines)
  few = ("cloud_tpu", "data", "how_much", "report", "results", "running")
  few = (*few, "slurm", "speed")
  assert len(found) > 2 or page in few


def everywhere():
  """(file, command, what follows) of each command that a text mentions."""
  files = ["README.md", *(f"docs/{page}.md" for page in ALL_PAGES)]
  files += [f"configs/{p.name}" for p in (runs.ROOT / "configs").glob("*.py")]
  for file in files:
    for match in re.finditer(r"\bd2v ([a-z]+)\b(?: ([^\s`]+))?", text_of(file)):
      yield file, match[1], match[2] or ""


def test_every_command_and_config_that_is_mentioned_exists(monkeypatch):
  mentioned = list(everywhere())
  assert {c for _, c, _ in mentioned} == commands_lib.COMMANDS.keys()
  monkeypatch.chdir(runs.ROOT)
  names = set()
  for file, command, config in mentioned:
    # The page on objectives makes a config of its own.
    ours = command in ("train", "probe") and not config.startswith("-")
    if ours and config not in ("", "configs/gist.py"):
      assert config_file.find(config)[0].is_file(), f"{file}: {config}"
      names.add(config.partition(":")[0])
  shown = {p.stem for p in (runs.ROOT / "configs").glob("*.py")}
  assert shown <= names


def test_the_commands_of_the_readme_are_run():
  """The page that is run has them, too."""
  page = [c for b in blocks("docs/README.md") for c in commands(b)]
  readme = [c for b in blocks("README.md") for c in commands(b)]
  assert len(readme) == 4
  for words in readme:
    assert words in page, shlex.join(words)


def test_the_readme_has_the_results_of_the_page():
  def rows(file):
    text = text_of(file).replace("(../", "(")
    return [line for line in text.splitlines() if line.startswith("| ")]

  assert rows("README.md") == rows("docs/results.md")
  assert len(text_of("README.md").splitlines()) <= 90


def test_the_links_lead_somewhere():
  files = [runs.ROOT / "README.md", *(runs.ROOT / "docs").glob("*.md")]
  for file in files:
    for link in re.findall(r"\]\(([^)]+)\)", file.read_text()):
      if not link.startswith("http"):
        assert (file.parent / link.partition("#")[0]).exists(), (file, link)


class TestObjectives:
  @pytest.fixture
  def tables(self):
    """What the example adds is taken out again."""
    yield
    OBJECTIVES.pop("gist", None)

  def test_the_table_has_all(self):
    page = text_of("docs/objectives.md")
    _, _, rest = page.partition("## Those that are there")
    table, _, _ = rest.partition("\n## ")
    rows = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert rows == list(OBJECTIVES)

  @pytest.mark.slow
  def test_the_example_runs(self, tmp_path, monkeypatch, tables, capsys):
    found = (b for b in blocks("docs/objectives.md") if "gist" in b)
    example, shell = found
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/gist.py").write_text(example + "\n")
    monkeypatch.chdir(tmp_path)
    lines = commands(shell)
    assert len(lines) == 3
    for words in lines:
      status = call(words, small("objectives", words))
      assert status == 0, f"{shlex.join(words)}\n{capsys.readouterr().err}"
    metrics = runs.metrics(tmp_path / "runs/gist")
    steps = [line for line in metrics if "loss" in line]
    assert len(steps) == 30
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert {"target_std", "prediction_std", "ema_decay"} <= steps[0].keys()
    probed = json.loads(
      (tmp_path / "runs/gist_probe/evaluation.json").read_text()
    )
    assert 0.1 < probed["linear_probe/accuracy"] <= 1

  @pytest.mark.slow
  def test_the_comparison_runs(self, tmp_path, monkeypatch, capsys):
    (block,) = (
      b for b in blocks("docs/objectives.md") if "objectives.report" in b
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").symlink_to(runs.ROOT / "experiments")
    added = (
      "--config.num_devices=1",
      "--config.total_steps=2",
      "--config.batch_size=4",
      "--config.data.buckets.lengths=(6_400,)",
      "--config.schedule={'name': 'constant', 'peak': 1e-3}",
      "--config.encoder.conv_layers=((8, 10, 5), (8, 8, 8), (8, 4, 4))",
    )
    for words in commands(block):
      ours = words[0] == "d2v"
      status = call(words, (*added, *short_evaluators(words)) if ours else ())
      assert status == 0, f"{shlex.join(words)}\n{capsys.readouterr().err}"
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert set(result["objectives"]) == {"logmel", "data2vec2"}
