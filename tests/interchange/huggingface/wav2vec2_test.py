"""wav2vec 2.0 and HuBERT: hidden states as in transformers."""

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch", reason="the extra `parity` has torch")
transformers = pytest.importorskip(
  "transformers", reason="the extra `parity` has transformers"
)

from d2v_jax import config as config_lib  # noqa: E402
from d2v_jax.data.layout import num_frames  # noqa: E402
from d2v_jax.extraction import command  # noqa: E402
from d2v_jax.interchange import run  # noqa: E402
from d2v_jax.interchange.huggingface import folder as huggingface  # noqa: E402
from d2v_jax.interchange.huggingface import parity  # noqa: E402
from d2v_jax.interchange.weights import InterchangeError, flatten  # noqa: E402
from d2v_jax.modalities import MODALITIES  # noqa: E402
from tests.interchange.folders import edit, save, weights  # noqa: E402
from tests.interchange.huggingface import live  # noqa: E402

# An even kernel, as all have that were released, and an odd one.
BASE = live.AUDIO | dict(num_conv_pos_embeddings=8)
LARGE = live.AUDIO | dict(
  num_conv_pos_embeddings=7,
  feat_extract_norm="layer",
  do_stable_layer_norm=True,
  conv_bias=True,
)
LAYOUTS = {"base": BASE, "large": LARGE}
CODEBOOK = dict(
  codevector_dim=16, proj_codevector_dim=16, num_codevectors_per_group=8
)


def random_model(folder, name, config):
  live.random(name, config).save_pretrained(folder)
  return huggingface.read(folder)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["Wav2Vec2Model", "HubertModel"])
def test_hidden_states(tmp_path, name, layout):
  model = random_model(tmp_path, name, LAYOUTS[layout])
  theirs = transformers.AutoModel.from_pretrained(tmp_path).eval()
  rng, lengths = np.random.default_rng(0), np.array([900, 640])
  there = np.arange(900) < lengths[:, None]
  samples = np.where(there, rng.standard_normal(there.shape, np.float32), 0)
  with torch.no_grad():
    output = theirs(
      torch.from_numpy(samples),
      attention_mask=torch.from_numpy(there.astype(np.int64)),
      output_hidden_states=True,
    )
  network = config_lib.build(
    model.encoder, MODALITIES["speech"].encoders, "encoder"
  )
  frames = num_frames(lengths, model.encoder["conv_layers"])
  real = np.arange(frames[0]) < frames[:, None]
  assert not real.all()
  ours = network(model.params, {"inputs": samples, "padding": ~real})
  hidden = [x.numpy() for x in output.hidden_states[1:]]
  assert len(hidden) == len(ours.block)
  for mine, other in zip(ours.block, hidden, strict=True):
    live.assert_close(mine[real], other[real])
  live.assert_close(ours.tokens[real], output.last_hidden_state.numpy()[real])


@pytest.mark.parametrize(
  "name, config, logits",
  [
    ("Wav2Vec2ForCTC", BASE | dict(pad_token_id=3), True),
    ("HubertForCTC", LARGE, True),
    (
      "HubertForSequenceClassification",
      BASE | dict(classifier_proj_size=6, num_labels=3),
      True,
    ),
    ("Wav2Vec2ForPreTraining", LARGE | CODEBOOK, False),
  ],
)
def test_heads(tmp_path, name, config, logits):
  model = random_model(tmp_path, name, config)
  differences, reason = parity.check(tmp_path, model)
  assert reason == "" and max(differences.values()) < live.TOLERANCE
  assert ("logits" in differences) == logits
  left_out = any("head of" in note for note in model.notes)
  assert left_out != logits


def test_names_of_older_files(tmp_path):
  model = random_model(tmp_path, "Wav2Vec2Model", BASE)
  older = {}
  for name, value in weights(tmp_path).items():
    name = name.replace("parametrizations.weight.original0", "weight_g")
    name = name.replace("parametrizations.weight.original1", "weight_v")
    older[f"wav2vec2.{name}"] = value
  assert "wav2vec2.encoder.pos_conv_embed.conv.weight_g" in older
  save(tmp_path, older)
  again = huggingface.read(tmp_path)
  for path, leaf in flatten(model.params).items():
    np.testing.assert_array_equal(leaf, flatten(again.params)[path])
  differences, _ = parity.check(tmp_path, again)
  assert max(differences.values()) < live.TOLERANCE


@pytest.mark.parametrize("layout", LAYOUTS)
def test_recordings(tmp_path, layout):
  live.random("Wav2Vec2Model", LAYOUTS[layout]).save_pretrained(tmp_path / "hf")
  extractor = transformers.Wav2Vec2FeatureExtractor()
  extractor.save_pretrained(tmp_path / "hf")
  model = transformers.AutoModel.from_pretrained(tmp_path / "hf").eval()
  (tmp_path / "recordings").mkdir()
  rng, theirs = np.random.default_rng(0), []
  for k, seconds in enumerate((0.61, 0.333)):
    path = tmp_path / f"recordings/{k}.wav"
    count = round(16_000 * seconds)
    soundfile.write(path, 0.2 * rng.standard_normal(count), 16_000, "FLOAT")
    samples = soundfile.read(path, dtype="float32")[0]
    batch = extractor(samples, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
      tokens = model(batch["input_values"]).last_hidden_state
    theirs.append(tokens[0].mean(0).numpy())
  imported = huggingface.read(tmp_path / "hf")
  workdir = run.write(tmp_path / "run", imported, {})
  arguments = [f"--run={workdir}", f"--input={tmp_path / 'recordings'}"]
  arguments += [f"--output={tmp_path / 'a.npz'}", "--num_devices=1"]
  assert command.main(arguments) == 0
  ours = np.load(tmp_path / "a.npz")["features"]
  live.assert_close(ours, np.stack(theirs))


@pytest.mark.parametrize(
  "fields, message",
  [
    ({"adapter_attn_dim": 16}, "adapter_attn_dim=16: this library has only"),
    ({"add_adapter": True}, "add_adapter=True: this library has only False"),
    ({"feat_extract_norm": "batch"}, "only group, layer can be imported"),
    ({"conv_pos_batch_norm": True}, "conv_pos_batch_norm=True: this library"),
    ({"feat_proj_layer_norm": False}, "feat_proj_layer_norm=False: this lib"),
    ({"hidden_act": "relu"}, "hidden_act='relu'"),
    ({"num_conv_pos_embeddings": 0}, "num_conv_pos_embeddings=0"),
  ],
)
def test_what_is_refused(tmp_path, fields, message):
  random_model(tmp_path, "HubertModel", BASE)
  edit(tmp_path, **fields)
  with pytest.raises(InterchangeError, match=message):
    huggingface.read(tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
  ("name", "leaves_as"),
  [
    ("Wav2Vec2Model", "Wav2Vec2Model"),
    ("HubertModel", "Wav2Vec2Model"),
    ("Wav2Vec2ForCTC", "Wav2Vec2ForCTC"),
    (
      "HubertForSequenceClassification",
      "Wav2Vec2ForSequenceClassification",
    ),
  ],
)
def test_it_leaves_again(tmp_path, name, leaves_as, layout):
  heads = dict(classifier_proj_size=6, num_labels=3, pad_token_id=0)
  config = LAYOUTS[layout] | (heads if "For" in name else {})
  model = random_model(tmp_path / "in", name, config)
  notes = huggingface.write(tmp_path / "out", model)
  assert any("counts padding" in x for x in notes) == (layout == "base")
  theirs, ours = (
    getattr(transformers, cls).from_pretrained(tmp_path / folder).eval()
    for cls, folder in ((name, "in"), (leaves_as, "out"))
  )
  assert ours.config.model_type == "wav2vec2"
  samples = torch.from_numpy(
    np.random.default_rng(0).standard_normal((2, 700), np.float32)
  )
  with torch.no_grad():
    outputs = [m(samples, output_hidden_states=True) for m in (theirs, ours)]
  for mine, other in zip(
    *(output.hidden_states for output in outputs), strict=True
  ):
    live.assert_close(mine.numpy(), other.numpy())
  if "For" in name:
    live.assert_close(*(output.logits.numpy() for output in outputs))
  again = huggingface.read(tmp_path / "out")
  assert again.encoder == model.encoder and again.data == model.data
  assert flatten(again.params).keys() == flatten(model.params).keys()
  for path, leaf in flatten(model.params).items():
    np.testing.assert_array_equal(leaf, flatten(again.params)[path])


def test_what_is_read_without_our_files_beside_it(tmp_path):
  """The folder says all by itself."""
  model = random_model(tmp_path / "in", "Wav2Vec2Model", BASE)
  huggingface.write(tmp_path / "out", model)
  for file in (tmp_path / "out").glob("d2v_jax.*"):
    file.unlink()
  again = huggingface.read(tmp_path / "out")
  assert again.encoder == model.encoder
  for path, leaf in flatten(model.params).items():
    np.testing.assert_array_equal(leaf, flatten(again.params)[path])
