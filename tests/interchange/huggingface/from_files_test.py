"""From photos, recordings and texts to features: transformers and ours."""

import re
import sys

import numpy as np
import pytest
import soundfile
from PIL import Image

torch = pytest.importorskip("torch", reason="the extra `parity` has torch")
transformers = pytest.importorskip(
  "transformers", reason="the extra `parity` has transformers"
)

from d2v_jax.extraction import command  # noqa: E402
from d2v_jax.interchange import run  # noqa: E402
from d2v_jax.interchange.huggingface import folder as huggingface  # noqa: E402
from tests.data.images.pictures import picture  # noqa: E402
from tests.interchange import small_models  # noqa: E402
from tests.interchange.huggingface import live  # noqa: E402

SHAPES = [(67, 45), (33, 90), (51, 51), (20, 31)]
SECONDS = (0.61, 0.333, 0.8)
TEXTS = ("In the beginning", "God", "créa — les cieux")
SQUARE = {"height": 32, "width": 32}
PROCESSORS = {
  "whole": ("BeitImageProcessor", dict(size=SQUARE, do_center_crop=False)),
  "whole, bilinear": (
    "ViTImageProcessor",
    dict(size=SQUARE, resample=2, do_normalize=False),
  ),
  "middle of a square": (
    "DeiTImageProcessorPil",
    dict(size={"height": 37, "width": 37}, crop_size=SQUARE),
  ),
  "middle": (
    "CLIPImageProcessor",
    dict(size={"shortest_edge": 37}, crop_size=SQUARE, do_convert_rgb=True),
  ),
}


@pytest.fixture
def photos(tmp_path):
  """Paths of photos of odd sizes."""
  (tmp_path / "photos").mkdir()
  paths = []
  for k, shape in enumerate(SHAPES):
    paths.append(tmp_path / f"photos/{k}.png")
    Image.fromarray(picture(*shape, seed=k)).save(paths[-1])
  return paths


@pytest.fixture
def recordings(tmp_path):
  """Paths of recordings of odd lengths, the second one hardly to be heard."""
  (tmp_path / "recordings").mkdir()
  rng, paths = np.random.default_rng(0), []
  for k, seconds in enumerate(SECONDS):
    loudness = 0.002 if k == 1 else 0.2
    samples = loudness * rng.standard_normal(round(16_000 * seconds)) + 0.01
    paths.append(tmp_path / f"recordings/{k}.wav")
    soundfile.write(paths[-1], samples, 16_000, "FLOAT")
  return paths


def photo(path):
  with Image.open(path) as image:
    return image.copy()


def features(workdir, files, out):
  """What `d2v features` writes, in the order of the files."""
  arguments = [f"--run={workdir}", f"--input={files}", f"--output={out}"]
  assert command.main([*arguments, "--num_devices=1"]) == 0
  return np.load(out)["features"]


def imported(folder, workdir):
  return run.write(workdir, huggingface.read(folder), {})


@pytest.mark.parametrize("case", PROCESSORS)
def test_photos(tmp_path, photos, case):
  config = live.VISION | live.SHARED
  live.random_model("VisionModel", config).save_pretrained(tmp_path / "hf")
  name, fields = PROCESSORS[case]
  getattr(transformers, name)(**fields).save_pretrained(tmp_path / "hf")
  processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "hf")
  model = transformers.AutoModel.from_pretrained(tmp_path / "hf").eval()
  theirs = []
  for path in photos:
    batch = processor(images=photo(path), return_tensors="pt")
    with torch.no_grad():
      tokens = model(**batch).last_hidden_state
    theirs.append(tokens[0, 1:].mean(0).numpy())
  workdir = imported(tmp_path / "hf", tmp_path / "run")
  ours = features(workdir, tmp_path / "photos", tmp_path / "a.npz")
  live.assert_close(ours, np.stack(theirs))


@pytest.mark.parametrize("whole", [False, True])
def test_recordings(tmp_path, recordings, whole):
  model = live.random_model("AudioModel", live.AUDIO | dict(conv_bias=True))
  model.save_pretrained(tmp_path / "hf")
  extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True)
  extractor.save_pretrained(tmp_path / "hf")
  if whole:  # as a processor of several parts is saved
    parts = '{"processor_class": "Wav2Vec2Processor", "feature_extractor": '
    content = (tmp_path / "hf/preprocessor_config.json").read_text()
    (tmp_path / "hf/processor_config.json").write_text(f"{parts}{content}}}")
    (tmp_path / "hf/preprocessor_config.json").unlink()
  extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "hf")
  theirs = []
  for path in recordings:
    samples = soundfile.read(path, dtype="float32")[0]
    batch = extractor(samples, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
      tokens = model(**batch).last_hidden_state
    theirs.append(tokens[0].mean(0).numpy())
  workdir = imported(tmp_path / "hf", tmp_path / "run")
  ours = features(workdir, tmp_path / "recordings", tmp_path / "a.npz")
  live.assert_close(ours, np.stack(theirs))


def test_texts(tmp_path):
  folder = tmp_path / "hf"
  huggingface.write(folder, small_models.make("text"))
  for name in ("d2v_jax.json", "d2v_jax.safetensors"):
    (folder / name).unlink()
  tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
  model = transformers.AutoModel.from_pretrained(folder).eval()
  batch = tokenizer(
    list(TEXTS), padding=True, truncation=True, return_tensors="pt"
  )
  with torch.no_grad():
    tokens = model(**batch).last_hidden_state.numpy()
  real = batch["attention_mask"].numpy()[..., None]
  theirs = (tokens * real).sum(1) / real.sum(1)
  (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
  workdir = imported(folder, tmp_path / "run")
  arguments = [f"--run={workdir}", f"--input={tmp_path / 'texts.txt'}"]
  arguments += [f"--output={tmp_path / 'a.npz'}", "--cut", "--num_devices=1"]
  assert command.main(arguments) == 0
  live.assert_close(np.load(tmp_path / "a.npz")["features"], theirs)


def snippet(folder, **inputs):
  """What the names of a model card's snippet are once it has run."""
  card = (folder / "README.md").read_text()
  first, *others = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
  names = {"folder": str(folder), **inputs}
  with torch.no_grad():
    exec(first, names)
    for code in others:  # another way to the same network
      exec_alone(code, names)
  return names


def exec_alone(code, names):
  """Runs code that loads the model, which is to be the same."""
  other = {"folder": names["folder"]}
  exec(code, other)
  path, module = sys.path.pop(0), type(other["model"]).__module__
  assert path == names["folder"]
  assert sys.modules.pop(module).__file__ == f"{path}/{module}.py"
  outputs = other["model"](**names["batch"])
  for name in ("last_hidden_state", "logits"):
    ours, theirs = (getattr(o, name) for o in (outputs, names["outputs"]))
    assert (ours is None) == (theirs is None)
    if ours is not None:
      torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
  "kind, data",
  [
    ("pretrained", {"resize_ratio": None, "resampling": "bicubic"}),
    ("pretrained", {"resize_ratio": 1.3, "resampling": "bilinear"}),
    (
      "second",
      {"resize_ratio": 1.3, "resampling": "bilinear", "keep_aspect": False},
    ),
  ],
)
def test_card_of_images(tmp_path, photos, kind, data):
  model = small_models.make("vision", kind)
  model.data.update(data)
  huggingface.write(tmp_path / "hf", model, "teacher")
  workdir = run.write(tmp_path / "run", model, {})
  ours = features(workdir, tmp_path / "photos", tmp_path / "a.npz")
  for path, expected in zip(photos, ours, strict=True):
    made = snippet(tmp_path / "hf", image=photo(path))
    live.assert_close(made["features"][0].numpy(), expected)


@pytest.mark.parametrize("kind", ["pretrained", "second"])
def test_card_of_speech(tmp_path, recordings, kind):
  model = small_models.make("speech", kind)
  model.data["variance_floor"] = 1e-7
  huggingface.write(tmp_path / "hf", model, "teacher")
  workdir = run.write(tmp_path / "run", model, {})
  ours = features(workdir, tmp_path / "recordings", tmp_path / "a.npz")
  for path, expected in zip(recordings, ours, strict=True):
    samples = soundfile.read(path, dtype="float32")[0]
    made = snippet(tmp_path / "hf", samples=samples)
    live.assert_close(made["features"][0].numpy(), expected)


@pytest.mark.parametrize("kind", ["pretrained", "second"])
def test_card_of_text(tmp_path, kind):
  model = small_models.make("text", kind)
  huggingface.write(tmp_path / "hf", model, "teacher")
  model.data["tokenizer"] = {"name": "kjv"}
  workdir = run.write(tmp_path / "run", model, {})
  (tmp_path / "texts.txt").write_text(TEXTS[0])
  ours = features(workdir, tmp_path / "texts.txt", tmp_path / "a.npz")
  made = snippet(tmp_path / "hf", text=TEXTS[0])
  live.assert_close(made["features"].numpy(), ours)


@pytest.mark.parametrize("kind", ["", "second, "])
@pytest.mark.parametrize("modality", ["vision", "speech", "text"])
def test_card_of_a_classifier(tmp_path, photos, recordings, modality, kind):
  classes = ("one", "two", "three", "four")
  model = small_models.make(modality, f"{kind}classification")
  count = model.objective["head"]["num_outputs"]
  model.data["classes"] = classes[:count]
  huggingface.write(tmp_path / "hf", model)
  samples = soundfile.read(recordings[0], dtype="float32")[0]
  made = snippet(
    tmp_path / "hf", image=photo(photos[0]), samples=samples, text="God"
  )
  number = int(made["outputs"].logits[0].argmax())
  assert made["names"] == [classes[number]]


@pytest.mark.parametrize("kind", ["ctc", "second, ctc"])
def test_card_of_ctc(tmp_path, recordings, kind):
  huggingface.write(tmp_path / "hf", small_models.make("speech", kind))
  samples = soundfile.read(recordings[0], dtype="float32")[0]
  made = snippet(tmp_path / "hf", samples=samples)
  assert set(made["texts"][0]) <= set(" ABC'")
