"""What tests of fairseq's files share: how they are saved and read."""

import jax
import numpy as np

from d2v_jax.interchange.fairseq import reader as fairseq
from d2v_jax.interchange.model import build
from tests.interchange.torch_file import torch_files


def read(folder, state, **kwargs):
  path = folder / "checkpoint.pt"
  torch_files.save(path, state)
  return fairseq.read(path, **kwargs)


def objective(imported, **changes):
  arguments = {**imported.encoder, **changes}
  return build(imported.modality, arguments, imported.objective)[1]


def group(arrays, prefix):
  return {
    k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)
  }


QUIET = {
  "speech": dict(
    dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, layer_drop=0.0
  ),
  "text": dict(dropout=0.0, attention_dropout=0.0, activation_dropout=0.0),
  "vision": dict(drop_path=0.0, attention_dropout=0.0),
}


def same_encoder(fine_tuned, pretrained, folder):
  """The encoder is that of a pretrained file, bit for bit."""
  params = read(folder, pretrained).params
  ours = {k: v for k, v in fine_tuned.params.items() if k != "head"}
  del params["decoder"]
  jax.tree.map(np.testing.assert_array_equal, ours, params)
