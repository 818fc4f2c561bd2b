"""Reads fairseq's files of data2vec 1.0 and 2.0, and of its vision release."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from etils import epath

from d2v_jax.interchange.fairseq import (
  speech,
  speech2,
  text,
  text2,
  vision,
  vision2,
)
from d2v_jax.interchange.fairseq.checkpoint import (
  Checkpoint,
  model_name,
  unwrapped,
)
from d2v_jax.interchange.model import Foreign, Model, assemble
from d2v_jax.interchange.options import Options
from d2v_jax.interchange.torch_file import reader as torch_file
from d2v_jax.interchange.weights import InterchangeError

# How the name of a weight that every such model has ends -> its reader.
READERS: dict[str, Callable[[Checkpoint], Foreign]] = {
  "feature_extractor.conv_layers.0.0.weight": speech.read,
  "sentence_encoder.embed_tokens.weight": text.read,
  "patch_embed.proj.weight": vision.read,
  "patch_embed.conv.weight": vision.read_port,
  # Of data2vec 2.0.
  "local_encoder.conv_layers.0.0.weight": speech2.read,
  "local_encoder.embed_tokens.weight": text2.read,
  "local_encoder.proj.weight": vision2.read,
}


def read(
  path: epath.PathLike,
  *,
  dictionary: epath.PathLike | None = None,
  encoder_only: bool = False,
) -> Model:
  """Reads a .pt or .pth file of data2vec 1.0 or 2.0.

  Of the first version these are fairseq's data2vec_audio, wav2vec_ctc around
  it, data2vec_text with or without a classification head, data2vec_vision, and
  the files of the separate vision release, pretrained or fine-tuned. Of the
  second they are fairseq's data2vec_multi with one modality, and around it
  wav2vec_ctc, mae_image_classification or data2vec_text_classification.

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

  Source: data2vec (arXiv 2202.03555), data2vec 2.0 (arXiv 2212.07525) and their
  released code, whose names and options these are.
  """
  path = epath.Path(path)
  given = None if dictionary is None else epath.Path(dictionary)
  checkpoint = _checkpoint(path, torch_file.load(path), given, encoder_only)
  return assemble(_kind(checkpoint)(checkpoint), str(path))


def _checkpoint(
  path: epath.Path,
  state: Any,
  dictionary: epath.Path | None,
  encoder_only: bool,
) -> Checkpoint:
  state = state if isinstance(state, Mapping) else {}
  _, weights = _first(state, "model", "module")
  if weights is None:
    raise InterchangeError(
      f"{path}: it is not a checkpoint of fairseq or of the vision release: it "
      "has no 'model' with weights."
    )
  weights = unwrapped(weights)
  name, config = _first(state, "cfg", "args")
  cfg = Options(_present(config or {}), f"{path}: {name}")
  _, kept = _first(state, "task_state")
  return Checkpoint(
    path=path,
    arrays=_arrays(weights),
    averages={
      k: _arrays(v) for k, v in weights.items() if isinstance(v, Mapping)
    },
    cfg=cfg,
    model=cfg.inner("model"),
    task=cfg.inner("task"),
    kept=kept or {},
    other={k: v for k, v in state.items() if k not in ("model", "module")},
    dictionary=dictionary,
    encoder_only=encoder_only,
  )


def _first(state: Mapping, *names: str) -> tuple[str, Mapping | None]:
  """The first of these entries that is a section, or the last name and None."""
  for name in names:
    if isinstance(state.get(name), Mapping):
      return name, state[name]
  return names[-1], None


def _present(section: Mapping) -> dict[str, Any]:
  """Without options that are None: for fairseq they have their defaults."""
  return {
    k: _present(v) if isinstance(v, Mapping) else v
    for k, v in section.items()
    if v is not None
  }


def _kind(checkpoint: Checkpoint) -> Callable[[Checkpoint], Foreign]:
  """The one place that tells the kinds of files apart."""
  for ending, reader in READERS.items():
    if any(name.endswith(ending) for name in checkpoint.arrays):
      return reader
  name = model_name(checkpoint.model)
  raise checkpoint.error(
    "it has the weights of no data2vec model"
    + (f", but of a {name!r}" if name else "")
    + f"; they begin with: {', '.join(sorted(checkpoint.arrays)[:3]) or 'none'}"
  )


def _arrays(tree: Mapping) -> dict[str, np.ndarray]:
  return {str(k): v for k, v in tree.items() if isinstance(v, np.ndarray)}
