"""Folders from the Hugging Face Hub and to it, with the extra `hf`."""

import importlib.util
import re
from typing import Any

from etils import epath

from d2v_jax import bad_input
from d2v_jax.interchange.weights import InterchangeError

PREFIX = "hf://"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_PACKAGE = "huggingface_hub"
# The first of these that a repository has; nothing of its sub-folders.
_WEIGHTS = ("*.safetensors", "*.bin")
_BESIDE = ("*.json", "*.txt", "README.md")


def fetch(source: str) -> tuple[epath.Path, str]:
  """The folder that hf://owner/name, or hf://owner/name@revision, stands for.

  What is in the Hub's cache already is not downloaded again, and serves without
  a network.

  Returns:
    The folder, which must not be changed, and the source with its commit.

  Raises:
    InterchangeError: it is no such name, cannot be downloaded, or the extra is
      not installed.
  """
  name, _, revision = source.removeprefix(PREFIX).partition("@")
  _check(source, name)
  hub = _package(source)
  try:
    for weights in _WEIGHTS:
      folder = epath.Path(
        hub.snapshot_download(
          name,
          revision=revision or None,
          allow_patterns=[weights, *_BESIDE],
          ignore_patterns=["*/*"],
        )
      )
      if any(folder.glob(weights)):
        break
  except Exception as e:
    raise _failed(e, f"{source} was not downloaded", _ACCESS) from e
  return folder, f"{PREFIX}{name}@{folder.name}"


def check_push(name: str) -> None:
  """Raises InterchangeError if nothing could be pushed to such a name."""
  _check(f"--push={name}", name)
  _package("--push")


def push(folder: epath.PathLike, name: str) -> str:
  """Uploads a folder; the repository is made, private, if there is none.

  Args:
    folder: what becomes its files.
    name: owner/name.

  Returns:
    Where it is.

  Raises:
    InterchangeError: it was not uploaded; the folder is as it was.
  """
  hub = _package("--push")
  try:
    api = hub.HfApi()
    api.create_repo(name, private=True, exist_ok=True)
    commit = api.upload_folder(
      repo_id=name,
      folder_path=str(folder),
      commit_message="Written by d2v convert export",
    )
  except Exception as e:
    kept = f"{folder} is whole, and `hf upload {name} {folder}` sends it later"
    raise _failed(
      e, f"--push={name}: nothing was pushed", f"{_ACCESS}. {kept}"
    ) from e
  return str(commit)


_ACCESS = (
  "check the name and the network, and that `hf auth login` was done where "
  "the repository is private, gated or yours to write"
)


def _check(what: str, name: str) -> None:
  if not _REPOSITORY.fullmatch(name):
    raise InterchangeError(
      f"{what}: a repository of the Hugging Face Hub is owner/name, as in "
      f"{PREFIX}google-bert/bert-base-uncased; got {name!r}."
    )


def _package(what: str) -> Any:
  if importlib.util.find_spec(_PACKAGE) is None:
    raise InterchangeError(
      f"{what}: {_PACKAGE} is not installed; pip install 'd2v_jax[hf]', or "
      "download the folder and give its path."
    )
  return importlib.import_module(_PACKAGE)


def _failed(error: Exception, what: str, advice: str) -> InterchangeError:
  """The first line of what went wrong, unless all of it is asked for."""
  if bad_input.shows_tracebacks():
    raise error
  said = (str(error).strip().splitlines() or [""])[0][:300]
  return InterchangeError(f"{what} ({type(error).__name__}: {said}); {advice}.")
