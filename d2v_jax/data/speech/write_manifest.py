"""Writes a manifest: which recordings there are, and how long they are.

  d2v manifest SOURCE OUT.tsv
  d2v manifest recordings recordings.tsv

SOURCE is a folder of audio (sub-folders become the column 'label'), a manifest
to complete, or with --librispeech the folder of LibriSpeech. OUT.tsv has a row
for each recording that training can use: path (relative to OUT.tsv's folder if
it is below it), num_samples, rate, and what else is known. Each file is decoded
once to find that out; the others are named, with reasons. --headers reads only
headers, which is faster, and leaves it to training to find files that are cut,
damaged or silent. Runs that read OUT.tsv with the source "manifest" need no
scan of the headers. At the end it says how long the recordings are, and which
lengths of batches waste least.

With --shards N the recordings are also packed, as they are, into N array_record
files beside OUT.tsv, which it then names: few large files, as network disks
like them. Record k of a shard is the bytes of one audio file; the column
'record' says k.
"""

import argparse
import concurrent.futures
import csv
import io
import os
import pathlib
import sys
from collections.abc import Callable, Sequence

import numpy as np
from array_record.python import array_record_module

from d2v_jax.data import length_report
from d2v_jax.data.files.unreadable import Unreadable, shown
from d2v_jax.data.speech import decoding
from d2v_jax.data.speech.audio_files import (
  AudioFiles,
  Header,
  resampled_lengths,
)
from d2v_jax.data.speech.manifest import Manifest
from d2v_jax.data.speech.sources import AudioFolder, LibriSpeech

_COLUMNS = ("path", "record", "num_samples", "rate")  # then what else there is
_BREAKS = str.maketrans("\r\n", "  ")
_BUCKETS = 4
_SCAN_THREADS = 32  # more than cores: a scan waits for the disk
_ROUND = 800  # samples that suggested lengths are multiples of, 50 ms


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  args = _parse(argv)
  try:
    source = _source(args)
    write(
      source,
      args.out,
      shards=args.shards,
      force=args.force,
      headers=args.headers,
      say=_say,
    )
  except (ValueError, OSError) as error:
    _say(f"error: {error}\n")
    return 2
  return 0


def write(
  source: AudioFiles,
  out: str,
  *,
  shards: int = 0,
  force: bool = False,
  headers: bool = False,
  say: Callable[[str], None],
) -> None:
  """Writes a manifest of a source, and array_record shards if asked for.

  Args:
    source: recordings.
    out: path of the manifest, .tsv.
    shards: number of array_record files to pack the recordings into; 0 leaves
      them where they are.
    force: overwrite files that exist.
    headers: read headers only, instead of decoding each file.
    say: gets progress, a line for each file of no use, and a summary.

  Raises:
    ValueError: an argument is wrong, a file exists, or nothing is readable.
  """
  target = pathlib.Path(out)
  if target.suffix != ".tsv":
    raise ValueError(f"OUT must end in .tsv, got {out}")
  if shards < 0:
    raise ValueError(f"--shards must be >= 0, got {shards}")
  packed = [
    target.with_name(f"{target.stem}-{k:05d}-of-{shards:05d}.array_record")
    for k in range(shards)
  ]
  exist = [str(file) for file in (target, *packed) if file.exists()]
  if exist and not force:
    raise ValueError(
      f"{', '.join(exist)} exists; choose another OUT or add --force"
    )
  total = len(source)
  listing = getattr(source, "listing", None)
  if listing is not None and (text := listing.summary()):
    say(f"of the folder's files, {text}\n")
  usable = _usable(source, headers, shards > 0, say)
  if len(usable) < max(1, shards):
    raise ValueError(
      f"{len(usable)} of {total} files can be read, but at least "
      f"{max(1, shards)} are needed"
    )
  target.parent.mkdir(parents=True, exist_ok=True)
  if shards:
    paths = _pack(source, list(usable), packed, say)
  else:
    paths = [{"path": _relative(source.files[i], target)} for i in usable]
  _write_tsv(
    target,
    [
      {**source.rows[i], **path, "num_samples": str(count), "rate": str(rate)}
      for (i, (count, rate)), path in zip(usable.items(), paths, strict=True)
    ],
  )
  seconds = sum(count / rate for count, rate in usable.values())
  say(
    f"wrote {shown(str(target))}: {len(usable)} recordings, "
    f"{seconds / 3600:.2f} h; left out {total - len(usable)}\n"
  )
  say(_lengths(list(usable.values())))


def _usable(
  source: AudioFiles, headers: bool, packed: bool, say: Callable[[str], None]
) -> dict[int, Header]:
  """Returns file's number -> (samples, rate), and names the other files."""
  total = len(source)
  usable: dict[int, Header] = {}
  look = _header if headers else AudioFiles.measured
  with concurrent.futures.ThreadPoolExecutor(
    _SCAN_THREADS if headers else os.cpu_count()
  ) as pool:
    for i, found in enumerate(
      pool.map(lambda i: look(source, i), range(total))
    ):
      if i and i % 100 == 0:
        say(f"\rread {i} of {total} files")
      if not isinstance(found, Unreadable):
        if found[0] < 1:
          found = Unreadable("empty: no samples")
        elif (
          not packed and source.files[i].translate(_BREAKS) != (source.files[i])
        ):
          found = Unreadable("a line break in its name, which no table holds")
      if isinstance(found, Unreadable):
        say(f"\rleft out: {shown(source.record_name(i))}: {found}\n")
      else:
        usable[i] = found
  say(f"\rread {total} of {total} files\n")
  return usable


def _header(source: AudioFiles, index: int) -> Header | Unreadable:
  found = source.header(index)
  return Unreadable("its header cannot be read") if found is None else found


def _lengths(headers: list[Header]) -> str:
  """Says how long recordings are, and which buckets waste least."""
  lengths = resampled_lengths(headers, decoding.SAMPLE_RATE)
  lengths = np.maximum(lengths, 1)
  spread = length_report.quantiles(lengths / decoding.SAMPLE_RATE)
  buckets = length_report.best_buckets(lengths, _BUCKETS, _ROUND)
  share = length_report.padding(lengths, buckets)
  return (
    "seconds: "
    + ", ".join(f"{q} % up to {value:.2f}" for q, value in spread.items())
    + f"\nbatches of these lengths hold all, {share:.0%} of them padding: "
    f'--config.data.buckets.lengths="{buckets.lengths}"\n'
  )


def _pack(
  source: AudioFiles,
  chosen: list[int],
  shards: list[pathlib.Path],
  say: Callable[[str], None],
) -> list[dict[str, str]]:
  """Writes the shards; returns each recording's columns path and record."""
  columns: list[dict[str, str]] = []
  for k, shard in enumerate(shards):
    part = chosen[
      len(chosen) * k // len(shards) : len(chosen) * (k + 1) // len(shards)
    ]
    # Under another name until it is whole. A group of one: random access.
    unfinished = shard.with_name(shard.name + ".unfinished")
    writer = array_record_module.ArrayRecordWriter(
      str(unfinished), "group_size:1,uncompressed"
    )
    for number, i in enumerate(part):
      writer.write(source.read(i))
      columns.append({"path": shard.name, "record": str(number)})
    writer.close()
    unfinished.replace(shard)
    say(f"\rpacked {k + 1} of {len(shards)} shards")
  say("\n")
  return columns


def _relative(file: str, target: pathlib.Path) -> str:
  path, folder = pathlib.Path(file).absolute(), target.absolute().parent
  inside = path.is_relative_to(folder)
  return (path.relative_to(folder) if inside else path).as_posix()


def _write_tsv(target: pathlib.Path, rows: list[dict[str, str]]) -> None:
  columns = [c for c in _COLUMNS if c in rows[0]]
  columns += [c for c in rows[0] if c not in columns]
  text = io.StringIO()
  table = csv.writer(text, delimiter="\t", lineterminator="\n")
  table.writerow(columns)
  for row in rows:
    table.writerow(row[c].translate(_BREAKS) for c in columns)
  unfinished = target.with_name(target.name + ".unfinished")
  # Names of files are bytes, which need not be UTF-8.
  unfinished.write_bytes(text.getvalue().encode("utf-8", "surrogateescape"))
  unfinished.replace(target)


def _source(args: argparse.Namespace) -> AudioFiles:
  if args.librispeech:
    subsets = tuple(args.subsets.split(",")) if args.subsets else None
    return LibriSpeech(args.source, subsets)
  if args.subsets:
    raise ValueError("--subsets is for --librispeech only")
  if pathlib.Path(args.source).is_file():
    return Manifest(args.source)
  return AudioFolder(args.source)


def _say(text: str) -> None:
  print(text, end="", file=sys.stderr, flush=True)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="d2v manifest",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    "source", metavar="SOURCE", help="folder of audio, or manifest"
  )
  parser.add_argument("out", metavar="OUT.tsv", help="manifest to write, .tsv")
  parser.add_argument(
    "--librispeech", action="store_true", help="SOURCE is LibriSpeech"
  )
  parser.add_argument(
    "--subsets", help="of LibriSpeech, e.g. train-clean-100,train-clean-360"
  )
  parser.add_argument(
    "--shards", type=int, default=0, help="pack into so many shards"
  )
  parser.add_argument(
    "--headers",
    action="store_true",
    help="read headers only, which does not find damage",
  )
  parser.add_argument(
    "--force", action="store_true", help="overwrite files that exist"
  )
  return parser.parse_args(argv)
