"""A folder of packed token blocks: tokenised once, read at random."""

import json
import os
import pathlib
import shutil
from collections.abc import Iterable
from typing import Any

import numpy as np

from d2v_jax.data.files import bounded

_FORMAT = 1
_SUMMARY = "tokens.json"
_LENGTHS = "lengths.npy"


def dtype_of(vocab_size: int) -> np.dtype:
  """Returns the type in which ids are kept: two bytes do for RoBERTa's."""
  # Little endian on every machine, since it is written to files.
  return np.dtype("<u2" if vocab_size <= 2**16 else "<i4")


class Tokens:
  """Blocks of tokens that `d2v pack` wrote.

  They are read from disk as needed; only their lengths are in memory. Item i is
  {'tokens': int32 [n], 'requested': i, 'record': i}, ready to train on.

  Args:
    path: the folder.

  Attributes:
    path: the folder.
    vocab_size: of the tokenizer.
    fingerprint: of the tokenizer.
    block_size: the most tokens of a block.
    rule: how sentences were packed.
    lengths: tokens of each block, int64 [n].

  Raises:
    ValueError: there is no such folder, or it is not complete.
  """

  class_names: tuple[str, ...] = ()

  def __init__(self, path: str | os.PathLike[str]):
    from array_record.python import array_record_data_source

    self.path = pathlib.Path(path)
    summary = _read_summary(self.path)
    self.vocab_size: int = summary["vocab_size"]
    self.fingerprint: str = summary["tokenizer_fingerprint"]
    self.block_size: int = summary["block_size"]
    self.rule: str = summary["rule"]
    shards = [str(self.path / name) for name in summary["shards"]]
    try:
      self.lengths: np.ndarray = np.load(self.path / _LENGTHS).astype(np.int64)
      self._blocks = array_record_data_source.ArrayRecordDataSource(shards)
      complete = len(self._blocks) == len(self.lengths) == summary["blocks"]
    except (OSError, ValueError, RuntimeError):
      complete = False
    if not complete:
      raise ValueError(
        f"Tokens: files of {self.path} are missing or damaged; write the "
        "folder again with d2v pack --force"
      )

  def __len__(self) -> int:
    return len(self.lengths)

  def __getitem__(self, index: int) -> dict[str, Any]:
    block = np.frombuffer(self._blocks[int(index)], dtype_of(self.vocab_size))
    at = {"requested": index, "record": index}
    return {"tokens": block.astype(np.int32), **at}

  def record_name(self, index: int) -> str:
    """Returns for example 'wiki_tokens[3]'."""
    return f"{self.path}[{index}]"


def check_free(path: str | os.PathLike[str], force: bool) -> pathlib.Path:
  """Returns the folder as a path, if it may be written.

  Args:
    path: the folder.
    force: whether blocks written earlier may be replaced.

  Raises:
    ValueError: it exists and is not to be replaced, or is something else.
  """
  folder = pathlib.Path(path)
  if folder.exists() and not force:
    raise ValueError(
      f"{folder} exists; choose another folder, or replace it with --force"
    )
  if folder.exists() and not (folder / _SUMMARY).is_file():
    raise ValueError(
      f"{folder} exists and holds no packed tokens, so it is not replaced; "
      "choose another folder"
    )
  return folder


def write(
  path: str | os.PathLike[str],
  blocks: Iterable[np.ndarray],
  *,
  vocab_size: int,
  fingerprint: str,
  block_size: int,
  rule: str,
  force: bool = False,
  blocks_per_shard: int = 65_536,
) -> dict[str, Any]:
  """Writes blocks to a folder, which appears only when it is complete.

  Args:
    path: the folder.
    blocks: ids, int32 [n] each; read once.
    vocab_size: number of ids.
    fingerprint: of the tokenizer.
    block_size: the most tokens of a block.
    rule: how sentences were packed.
    force: whether to replace blocks written earlier.
    blocks_per_shard: blocks in a file.

  Returns:
    What tokens.json holds.

  Raises:
    ValueError: the folder exists, or there are no blocks.
  """
  from array_record.python import array_record_module

  folder = check_free(path, force)
  unfinished = folder.with_name(f"{folder.name}.partial")
  shutil.rmtree(unfinished, ignore_errors=True)
  unfinished.mkdir(parents=True)
  lengths: list[int] = []
  shards: list[str] = []
  writer: Any = None
  try:
    for block in blocks:
      if len(lengths) % blocks_per_shard == 0:
        if writer is not None:
          writer.close()
        shards.append(f"tokens-{len(shards):05d}.array_record")
        file = str(unfinished / shards[-1])
        # Groups of one record are what makes random access fast.
        writer = array_record_module.ArrayRecordWriter(file, "group_size:1")
      writer.write(block.astype(dtype_of(vocab_size)).tobytes())
      lengths.append(len(block))
  finally:
    if writer is not None:
      writer.close()
  if not lengths:
    unfinished.rmdir()
    raise ValueError(f"{folder}: the text gives no block of 2 tokens or more")
  summary = {
    "format": _FORMAT,
    "tokenizer_fingerprint": fingerprint,
    "vocab_size": vocab_size,
    "block_size": block_size,
    "rule": rule,
    "blocks": len(lengths),
    "tokens": sum(lengths),
    "shards": shards,
  }
  np.save(unfinished / _LENGTHS, np.array(lengths, np.int32))
  (unfinished / _SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")
  replaced = folder.with_name(f"{folder.name}.replaced")
  if folder.exists():
    folder.rename(replaced)
  unfinished.rename(folder)
  shutil.rmtree(replaced, ignore_errors=True)
  return summary


def _read_summary(folder: pathlib.Path) -> dict[str, Any]:
  file = folder / _SUMMARY
  if not file.is_file():
    raise ValueError(
      f"Tokens: {folder} has no {_SUMMARY}, so it is not a folder of packed "
      "tokens, or not a finished one; write it with d2v pack"
    )
  try:
    summary = bounded.read_json(file)
  except ValueError as error:
    raise ValueError(f"Tokens: {file} is damaged: {error}") from error
  if not isinstance(summary, dict):
    raise ValueError(f"Tokens: {file} is damaged: it holds no object")
  if summary.get("format") != _FORMAT:
    raise ValueError(
      f"Tokens: {file} has format {summary.get('format')!r}, and this version "
      f"reads {_FORMAT}; write the folder again"
    )
  return summary
