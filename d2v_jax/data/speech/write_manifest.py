"""Writes a manifest: which recordings there are, and how long they are.

  d2v manifest SOURCE OUT.tsv
  d2v manifest recordings recordings.tsv

SOURCE is a folder of audio (sub-folders become the column 'label'), a manifest
to complete, or with --librispeech the folder of LibriSpeech. OUT.tsv has a row
for each recording whose header can be read: path (relative to OUT.tsv's folder
if it is below it), num_samples, rate, and what else is known. Runs that read
it with the source "manifest" need no scan of the headers.

With --shards N the recordings are also packed, as they are, into N array_record
files beside OUT.tsv, which it then names: few large files, as network disks
like them. Record k of a shard is the bytes of one audio file; the column
'record' says k.
"""

import argparse
import pathlib
import sys
from collections.abc import Callable, Sequence

from array_record.python import array_record_module

from d2v_jax.data.speech.audio_files import AudioFiles
from d2v_jax.data.speech.manifest import Manifest
from d2v_jax.data.speech.sources import AudioFolder, LibriSpeech

_COLUMNS = ("path", "record", "num_samples", "rate")  # then what else there is
_BREAKS = str.maketrans("\t\r\n", "   ")


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  args = _parse(argv)
  try:
    source = _source(args)
    write(source, args.out, shards=args.shards, force=args.force, say=_say)
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
  say: Callable[[str], None],
) -> None:
  """Writes a manifest of a source, and array_record shards if asked for.

  Args:
    source: recordings.
    out: path of the manifest, .tsv.
    shards: number of array_record files to pack the recordings into; 0 leaves
      them where they are.
    force: overwrite files that exist.
    say: gets progress and a line for each unreadable file.

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
  headers = source.headers(lambda done: say(f"\rread {done} of {total} files"))
  say(f"\rread {total} of {total} files\n")
  # File's number -> (samples, rate).
  usable = {i: x for i, x in enumerate(headers) if x is not None and x[0] > 0}
  for i in range(total):
    if i not in usable:
      say(f"left out, unreadable or empty: {source.record_name(i)}\n")
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
    f"wrote {target}: {len(usable)} recordings, {seconds / 3600:.2f} h; left "
    f"out {total - len(usable)}\n"
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
  lines = ["\t".join(columns)]
  for row in rows:
    if row["path"] != row["path"].translate(_BREAKS):
      raise ValueError(
        f"the path {row['path']!r} has a tab or a line break; rename the file"
      )
    lines.append("\t".join(row[c].translate(_BREAKS) for c in columns))
  unfinished = target.with_name(target.name + ".unfinished")
  unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
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
    "--force", action="store_true", help="overwrite files that exist"
  )
  return parser.parse_args(argv)
