"""BERT and RoBERTa: hidden states and features as in transformers."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `parity` has torch")
transformers = pytest.importorskip(
  "transformers", reason="the extra `parity` has transformers"
)

from d2v_jax import config as config_lib  # noqa: E402
from d2v_jax.data.text import tokenizer  # noqa: E402
from d2v_jax.data.text.arrays import TextArrays  # noqa: E402
from d2v_jax.data.text.examples import Texts  # noqa: E402
from d2v_jax.interchange import run  # noqa: E402
from d2v_jax.interchange.huggingface import folder as huggingface  # noqa: E402
from d2v_jax.interchange.huggingface import parity  # noqa: E402
from d2v_jax.interchange.weights import InterchangeError  # noqa: E402
from d2v_jax.modalities import MODALITIES  # noqa: E402
from tests.interchange import small_models  # noqa: E402
from tests.interchange.folders import edit, save, weights  # noqa: E402
from tests.interchange.huggingface import live  # noqa: E402

LETTERS = [chr(c) for c in range(ord("a"), ord("z") + 1)]
TOKENS = [
  *("[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
  *LETTERS,
  *(f"##{x}" for x in LETTERS),
  *("the", "begin", "##ning", ",", ".", "é"),
]
SIZES = live.SIZES | dict(
  vocab_size=len(TOKENS), max_position_embeddings=32, pad_token_id=0
)
TEXTS = ("In the beginning, a word.", "God", "créa — les cieux")
SECOND = ("and so on", "the end", "")


@pytest.fixture
def folder(tmp_path):
  """A random BERT with its tokenizer."""
  made = tmp_path / "hf"
  vocabulary = {token: i for i, token in enumerate(TOKENS)}
  transformers.BertTokenizer(vocab=vocabulary).save_pretrained(made)
  random_bert("Model").save_pretrained(made)
  return made


def random_bert(kind, **fields):
  name = f"Bert{'' if kind == 'Model' else 'For'}{kind}"
  return live.random(name, SIZES | fields)


def hidden_states(folder, model, *texts):
  """Theirs and ours, of texts, [L, tokens, D] each; padding is left out."""
  tokenizer_ = transformers.AutoTokenizer.from_pretrained(folder)
  batch = tokenizer_(*texts, padding=True, return_tensors="pt")
  theirs = transformers.AutoModel.from_pretrained(folder).eval()
  with torch.no_grad():
    output = theirs(**batch, output_hidden_states=True)
  real = batch["attention_mask"].numpy().astype(bool)
  states = np.stack([x.numpy()[real] for x in output.hidden_states[1:]])
  arrays = dict(zip(("text", "text_b"), texts, strict=False))
  arrays = {k: list(v) for k, v in arrays.items()}
  workdir = run.write(folder.parent / "run", model, {})
  data = json.loads((workdir / "run.json").read_text())["config"]["data"]
  examples = Texts(
    TextArrays(arrays, "given", text_b="text_b" if len(texts) > 1 else None),
    data["tokenizer"],
    model.encoder["vocab_size"],
  )
  rows = [examples[i]["tokens"] for i in range(len(examples))]
  assert [len(row) for row in rows] == real.sum(1).tolist()
  inputs = np.full(real.shape, 1, np.int32)
  for i, row in enumerate(rows):
    inputs[i, : len(row)] = row
  network = config_lib.build(
    model.encoder, MODALITIES["text"].encoders, "encoder"
  )
  ours = network(model.params, {"inputs": inputs})
  return states, np.stack([np.asarray(x)[real] for x in ours.block])


@pytest.mark.parametrize("texts", [(TEXTS,), (TEXTS, SECOND)])
def test_hidden_states_of_texts(folder, texts):
  theirs, ours = hidden_states(
    folder, huggingface.read(folder), *map(list, texts)
  )
  live.assert_close(ours, theirs)


def test_one_token_type_and_a_plain_vocabulary(folder):
  """As older folders are."""
  random_bert("Model", type_vocab_size=1).save_pretrained(folder)
  theirs, ours = hidden_states(folder, huggingface.read(folder), list(TEXTS))
  live.assert_close(ours, theirs)
  plain = tokenizer.load(folder.parent / "run/tokenizer")
  (folder / "tokenizer.json").unlink()
  (folder / "vocab.txt").write_text("\n".join(TOKENS) + "\n")
  again = run.write(folder.parent / "b", huggingface.read(folder), {})
  loaded = tokenizer.load(again / "tokenizer")
  for text in TEXTS:
    np.testing.assert_array_equal(loaded.encode(text), plain.encode(text))


@pytest.mark.parametrize("kind", ["SequenceClassification", "MaskedLM"])
def test_heads(folder, kind):
  random_bert(kind, num_labels=3).save_pretrained(folder)
  model = huggingface.read(folder)
  differences, reason = parity.check(folder, model)
  assert reason == "" and ("logits" in differences) == (kind != "MaskedLM")
  assert max(differences.values()) < live.TOLERANCE, differences
  assert ("was left out" in str(model.notes)) == (kind == "MaskedLM")


def test_the_check_sees_a_difference(folder):
  model = huggingface.read(folder)
  model.params["token_type_embedding"][0, 3] += 0.1
  differences, _ = parity.check(folder, model)
  assert differences["block 1"] > live.TOLERANCE


def test_roberta(tmp_path):
  """Data2VecText by another name."""
  huggingface.write(tmp_path, small_models.make("text"))
  for name in ("d2v_jax.json", "d2v_jax.safetensors"):
    (tmp_path / name).unlink()
  plain = huggingface.read(tmp_path)
  edit(tmp_path, model_type="roberta", architectures=["RobertaModel"])
  save(tmp_path, {f"roberta.{k}": v for k, v in weights(tmp_path).items()})
  model = huggingface.read(tmp_path)
  assert model.data == plain.data and model.encoder == plain.encoder
  differences, _ = parity.check(tmp_path, model)
  assert max(differences.values()) < live.TOLERANCE, differences


@pytest.mark.parametrize(
  "name, fields, message",
  [
    ("config.json", {"hidden_act": "gelu_new"}, "hidden_act='gelu_new'"),
    (
      "config.json",
      {"vocab_size": 65},
      "vocab_size=65: the folder's tokenizer",
    ),
    ("config.json", {"is_decoder": True}, "is_decoder=True"),
    (
      "tokenizer.json",
      {"post_processor": None},
      "post_processor makes A and A",
    ),
    ("tokenizer.json", {"model": 3}, "its tokenizer cannot be read"),
    ("tokenizer_config.json", {"mask_token": "<m>"}, "has no token <m>"),
    (
      "tokenizer_config.json",
      {"auto_map": {"a": "b"}},
      "auto_map: code of its",
    ),
  ],
)
def test_what_is_refused(folder, name, fields, message):
  edit(folder, name, **fields)
  with pytest.raises(InterchangeError, match=message):
    huggingface.read(folder)


def test_a_folder_without_a_tokenizer(folder):
  (folder / "tokenizer.json").unlink()
  with pytest.raises(
    InterchangeError, match=r"neither tokenizer.json nor voca"
  ):
    huggingface.read(folder)


def test_exports_are_refused(folder, tmp_path):
  model = huggingface.read(folder)
  with pytest.raises(InterchangeError, match=r"config.encoder.token_types=2"):
    huggingface.write(tmp_path / "out", model)
