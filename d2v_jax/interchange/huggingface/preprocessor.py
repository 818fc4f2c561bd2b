"""Where a folder says how files become inputs, and what of it is known."""

from collections.abc import Iterable

from d2v_jax.interchange.files import Folder
from d2v_jax.interchange.options import Options

NAME = "preprocessor_config.json"
# It has a section for each part; what is in it comes before NAME.
_WHOLE = "processor_config.json"
_PARTS = ("image_processor", "feature_extractor", "audio_processor")
_HARMLESS = ("processor_class", "tokenizer", "tokenizer_class")


def find(folder: Folder, *parts: str) -> tuple[str, Options | None]:
  """The fields of a folder's preprocessor.

  Args:
    folder: that may have such a file.
    *parts: names of its section in processor_config.json.

  Returns:
    The file, and its fields; or NAME and None where there is none.

  Raises:
    InterchangeError: the file is damaged, or asks for what is not known.
  """
  if folder.has(_WHOLE):
    whole = Options(folder.json(_WHOLE), f"{folder.path / _WHOLE}: config")
    require_known(whole, (*_PARTS, *_HARMLESS))
    for part in parts:
      if whole[part] is not None:
        return _WHOLE, whole.section(part)
  if folder.has(NAME):
    return NAME, Options(folder.json(NAME), f"{folder.path / NAME}: config")
  return NAME, None


def require_known(config: Options, known: Iterable[str]) -> None:
  """Raises InterchangeError if another field is set to something.

  None and False ask for nothing, whatever the field is.
  """
  for name in sorted(set(map(str, config.values)) - set(known)):
    if config[name] not in (None, False):
      raise config.error(
        name,
        "it is not known what this field does to inputs; take it out of the "
        "file if it does nothing",
      )
