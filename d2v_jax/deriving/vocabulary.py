"""A tokenizer of the run's own, where its config has none."""

import os
import pathlib
from typing import Any

from d2v_jax import config as config_lib
from d2v_jax import storage
from d2v_jax.config import ConfigError
from d2v_jax.data.text import tokenizer
from d2v_jax.deriving import rules
from d2v_jax.deriving.marks import Chosen

FILE = "derived_tokenizer.json"


def trained(
  chosen: Chosen, records: Any, folder: str | os.PathLike[str]
) -> str | None:
  """Trains a tokenizer on the text that is trained on.

  Args:
    chosen: with the size of the vocabulary.
    records: of the source.
    folder: where it is written.

  Returns:
    Its path; None where it is not to be derived.

  Raises:
    ConfigError: the text is too small for it, or cannot be read for it.
  """
  if not chosen.is_open(rules.TOKENIZER):
    return None
  where = f"config.{rules.TOKENIZER}"
  if not hasattr(records, "documents"):
    raise ConfigError(
      f"{where}: a tokenizer cannot be trained on this source; train one on "
      "its text (d2v tokenizer) and give its path."
    )
  if storage.in_bucket(folder):
    raise ConfigError(
      f"{where}: a tokenizer cannot be kept in {os.fspath(folder)}; train one "
      "beforehand (d2v tokenizer) and give its path."
    )
  path = pathlib.Path(folder).absolute() / FILE
  path.unlink(missing_ok=True)  # of a start that came to nothing
  lines = (line for document in records.documents() for line in document)
  with config_lib.errors_at("config.encoder.vocab_size"):
    tokenizer.train(lines, chosen.get("encoder.vocab_size")).save(path)
  return str(path)
