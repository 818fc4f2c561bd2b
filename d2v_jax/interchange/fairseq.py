"""Reads the files of fairseq's data2vec 1.0 and of its vision release."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from d2v_jax.interchange import (
  assembly,
  fairseq_speech,
  fairseq_text,
  fairseq_vision,
  fairseq_vision_port,
  torch_pickle,
)
from d2v_jax.interchange.fairseq_parts import Checkpoint, model_name
from d2v_jax.interchange.imported import Imported
from d2v_jax.interchange.names import InterchangeError
from d2v_jax.interchange.options import Options

# How the name of a weight that every such model has ends -> its reader.
READERS = {
  "feature_extractor.conv_layers.0.0.weight": fairseq_speech.read,
  "sentence_encoder.embed_tokens.weight": fairseq_text.read,
  "patch_embed.proj.weight": fairseq_vision.read,
  "patch_embed.conv.weight": fairseq_vision_port.read,
}
# Of the second version, in contrast.
_SECOND = ("data2vec_multi", "data2vec2")
_SECOND_WEIGHTS = "modality_encoders."


def read(
  path: epath.PathLike,
  *,
  dictionary: epath.PathLike | None = None,
  encoder_only: bool = False,
) -> Imported:
  """Reads a .pt or .pth file of data2vec 1.0.

  These are fairseq's data2vec_audio, wav2vec_ctc around it, data2vec_text with
  or without a classification head, data2vec_vision, and the files of the
  separate vision release, pretrained or fine-tuned.

  Args:
    path: the file. Nothing in it is executed.
    dictionary: fairseq's dict.ltr.txt of a CTC model, or a folder with a text
      model's dict.txt, encoder.json and vocab.bpe; None: looked for within the
      file and beside it.
    encoder_only: leave out head and objective, also where they could not be
      imported.

  Returns:
    The model, in float32. `teacher_params` has what the file averages.

  Raises:
    InterchangeError: the file is no such model or has options that would
      change its numbers here; weights are missing, unexpected or misshapen.

  Source: data2vec (arXiv 2202.03555) and its released code, whose names and
  options these are.
  """
  path = epath.Path(path)
  given = None if dictionary is None else epath.Path(dictionary)
  checkpoint = _checkpoint(path, torch_pickle.load(path), given, encoder_only)
  return assembly.assemble(_reader(checkpoint)(checkpoint), str(path))


def _checkpoint(path, state, dictionary, encoder_only):
  state = state if isinstance(state, Mapping) else {}
  weights = next(
    (
      state[k] for k in ("model", "module") if isinstance(state.get(k), Mapping)
    ),
    None,
  )
  if weights is None:
    raise InterchangeError(
      f"{path}: it is not a checkpoint of fairseq or of the vision release: it "
      "has no 'model' with weights."
    )
  arrays, averages = {}, {}
  for name, value in weights.items():
    if isinstance(value, np.ndarray):
      arrays[str(name)] = value
    elif isinstance(value, Mapping):
      averages[str(name)] = _arrays(value)
  config = next(
    (state[k] for k in ("cfg", "args") if isinstance(state.get(k), Mapping)), {}
  )
  cfg = Options(config, f"{path}: {'cfg' if state.get('cfg') else 'args'}")
  kept = state.get("task_state")
  return Checkpoint(
    path=path,
    arrays=arrays,
    averages=averages,
    cfg=cfg,
    model=cfg.inner("model"),
    task=cfg.inner("task"),
    kept=kept if isinstance(kept, Mapping) else {},
    other={k: v for k, v in state.items() if k not in ("model", "module")},
    dictionary=dictionary,
    encoder_only=encoder_only,
  )


def _reader(checkpoint):
  """The one place that tells the kinds of files apart."""
  names = {*_model_names(checkpoint.cfg.values)}
  if names & {*_SECOND} or any(_SECOND_WEIGHTS in n for n in checkpoint.arrays):
    raise checkpoint.error(
      "it is a model of data2vec 2.0; only those of data2vec 1.0 can be "
      "imported"
    )
  for ending, reader in READERS.items():
    if any(name.endswith(ending) for name in checkpoint.arrays):
      return reader
  found = model_name(checkpoint.model)
  raise checkpoint.error(
    "it has the weights of no data2vec model"
    + (f", but of a {found!r}" if found else "")
    + f"; they begin with: {', '.join(sorted(checkpoint.arrays)[:3]) or 'none'}"
  )


def _model_names(config: Any, levels: int = 4):
  """Names of all models that a configuration nests."""
  if not isinstance(config, Mapping) or not levels:
    return
  name = model_name(Options(config, ""))
  if name is not None:
    yield name
  for key in ("model", "w2v_args", "pretrained_model_args"):
    yield from _model_names(config.get(key), levels - 1)


def _arrays(tree):
  return {str(k): v for k, v in tree.items() if isinstance(v, np.ndarray)}
