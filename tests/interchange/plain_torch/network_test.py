"""The networks in PyTorch beside ours; skipped where torch is not installed."""

import ast
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `parity` has torch")

from d2v_jax.data.layout import num_frames  # noqa: E402
from d2v_jax.interchange import model as models  # noqa: E402
from d2v_jax.interchange.plain_torch import network  # noqa: E402
from d2v_jax.interchange.weights import InterchangeError  # noqa: E402
from d2v_jax.objectives import ema  # noqa: E402
from tests.interchange import small_models  # noqa: E402

FIRST = [
  ("speech", "pretrained"),
  ("speech", "biases"),
  ("speech", "ctc"),
  ("text", "pretrained"),
  ("text", "fixed positions"),
  ("text", "classification"),
]
TOLERANCE = 1e-4


def close(mine, theirs):
  np.testing.assert_allclose(mine, theirs, rtol=0, atol=TOLERANCE)


def both(modality, kind):
  """A model, ours and PyTorch's, each (batch) -> (layers, last, logits).

  The layers [1 + L, B, N, D] begin with what enters the first one, and are [L,
  B, N, D] where other layers make that; the CLS token is left out.
  """
  model = small_models.make(modality, kind)
  params = ema.teacher(model.params, model.teacher_params)
  encoder = models.resolved(modality, model.encoder)
  ours, objective = models.build(modality, encoder, model.objective)
  fine_tuned = "head" in model.objective and "ema" not in model.objective
  if not fine_tuned:
    params = {k: v for k, v in params.items() if k not in ("head", "decoder")}
  head = objective.head if fine_tuned else None

  def mine(batch):
    output, state = ours.module.apply(
      {"params": params},
      batch,
      None,
      capture_intermediates=lambda m, _: m.name in before,
      mutable=["intermediates"],
    )
    layers = np.asarray(output.block)
    if not encoder.get("prenet_depth"):
      made = state["intermediates"]
      first = next(made[name]["__call__"][0] for name in before if name in made)
      first = first[:, -output.tokens.shape[1] :]
      layers = np.concatenate([first[None], layers])
    if head is None:
      return layers, output.tokens, None, output.padding
    padding = () if model.objective["name"] == "ctc" else (output.padding,)
    logits = head(params["head"], output.tokens, *padding)
    return layers, output.tokens, logits, output.padding

  before = ("prenet_norm", "norm", "embedding_norm")
  settings = network.settings(modality, encoder, head, params)
  arrays = network.weights(modality, encoder, params)
  theirs = network.build(modality, settings, arrays)
  return model, mine, theirs


def batches(model, length=1000, short=600):
  """Two examples, the second padded, as both take them."""
  rng = np.random.default_rng(5)
  if model.modality == "vision":
    x = rng.standard_normal((2, 16, 16, 3), np.float32)
    return {"inputs": x}, {"pixel_values": x.transpose(0, 3, 1, 2).copy()}
  if model.modality == "text":
    x = rng.integers(2, 2000, (2, 11), np.int32)
    x[1, 7:] = 1
    mask = (x != 1).astype(np.int64)
    inputs = {"input_ids": x.astype(np.int64), "attention_mask": mask}
    return {"inputs": x}, inputs
  lengths = np.array([length, short])
  mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
  x = rng.standard_normal((2, length), np.float32) * mask
  frames = num_frames(lengths, model.encoder["conv_layers"])
  padding = np.arange(frames[0]) >= frames[:, None]
  inputs = {"input_values": np.float32(x), "attention_mask": mask}
  return {"inputs": np.float32(x), "padding": padding}, inputs


def run(theirs, inputs):
  with torch.no_grad():
    return theirs(**{k: torch.from_numpy(v) for k, v in inputs.items()})


@pytest.mark.parametrize("modality, kind", [*FIRST, *small_models.SECOND])
def test_every_hidden_state(modality, kind):
  model, mine, theirs = both(modality, kind)
  batch, inputs = batches(model)
  layers, tokens, logits, padding = mine(batch)
  output = run(theirs, inputs)
  real = np.ones(tokens.shape[:2], bool)
  if padding is not None:
    real = ~np.asarray(padding)
    assert not real.all()
    np.testing.assert_array_equal(output.padding.numpy(), padding)
  length = tokens.shape[1]
  assert len(output.hidden_states) == 1 + model.encoder["depth"]
  hidden_states = output.hidden_states[-len(layers) :]
  for ours, other in zip(layers, hidden_states, strict=True):
    close(ours[real], other[:, -length:].numpy()[real])
  close(tokens[real], output.last_hidden_state[:, -length:].numpy()[real])
  assert (output.logits is None) == (logits is None)
  if logits is not None:
    each = real if logits.ndim == 3 else slice(None)
    close(logits[each], output.logits.numpy()[each])


@pytest.mark.parametrize(
  "modality, kind",
  [
    case
    for case in [*FIRST, *small_models.SECOND]
    if case[0] != "vision" and small_models.isolates(*case)
  ],
)
def test_padding_changes_nothing(modality, kind):
  model, _, theirs = both(modality, kind)
  _, inputs = batches(model)
  together = run(theirs, inputs)
  count = inputs["attention_mask"][1].sum()
  alone = run(theirs, {k: v[1:, :count] for k, v in inputs.items()})
  there = alone.last_hidden_state.shape[1]
  close(together.last_hidden_state[1:, :there], alone.last_hidden_state)
  if alone.logits is not None:
    logits = together.logits[1:]
    close(logits[:, :there] if logits.ndim == 3 else logits, alone.logits)


@pytest.mark.parametrize(
  "modality, changes, head, message",
  [
    ("text", {"pre_norm": True}, None, "config.encoder.pre_norm=True"),
    ("text", {"token_types": 2}, None, "config.encoder.token_types=2"),
    ("speech", {"position_depth": 1}, None, "it has no weight norm"),
    ("speech", {"conv_norm": "group"}, None, "a norm of the channels"),
    ("text", {}, {"pool": "attentive"}, "config.objective.head.pool='att"),
  ],
)
def test_what_it_cannot_compute(modality, changes, head, message):
  model = small_models.make(modality, "classification", **changes)
  encoder = models.resolved(modality, model.encoder)
  spec = model.objective | {"head": model.objective["head"] | (head or {})}
  _, objective = models.build(modality, encoder, spec)
  with pytest.raises(InterchangeError, match=message) as error:
    network.settings(modality, encoder, objective.head, model.params)
  assert "--format=safetensors" in str(error.value)


@pytest.mark.parametrize("modality", network.CLASSES)
def test_files_are_short_and_need_torch_alone(modality):
  text = network.file(modality).read_text()
  assert len(text.splitlines()) < 200
  tree = ast.parse(text)
  soft = {
    id(node)
    for outer in ast.walk(tree)
    if isinstance(outer, ast.Try | ast.If)
    for node in ast.walk(outer)
  }
  needed = set()
  for node in ast.walk(tree):
    if id(node) in soft:
      continue
    if isinstance(node, ast.Import):
      needed |= {x.name.split(".")[0] for x in node.names}
    elif isinstance(node, ast.ImportFrom):
      needed.add(node.module.split(".")[0])
  assert needed - sys.stdlib_module_names == {"torch"}


def test_without_torch(monkeypatch):
  monkeypatch.setitem(sys.modules, "torch", None)
  with pytest.raises(InterchangeError, match="torch is not installed; pip"):
    network.build("text", {}, {})
