"""Writes the table of recordings to pretrain on: digits and phrases.

  python -m experiments.spoken_digits.prepare FSDD TUXWORDS OUT.tsv

FSDD and TUXWORDS are folders with a manifest.tsv (path, text, speaker or lang).
Three of the six speakers of the digits are left out, so that whoever is tested
was never heard.
"""

import csv
import pathlib
import sys

HELD_OUT = ("theo", "lucas", "yweweler")


def main(fsdd: str, tuxwords: str, out: str) -> None:
  """Writes path and speaker of every recording to pretrain on."""
  rows = []
  for folder in (fsdd, tuxwords):
    root = pathlib.Path(folder).resolve()
    with open(root / "manifest.tsv", encoding="utf-8") as f:
      for row in csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE):
        speaker = row.get("speaker", row.get("lang"))
        if speaker not in HELD_OUT:
          rows.append((root / row["path"], speaker))
  with open(out, "w", encoding="utf-8") as f:
    f.write("path\tspeaker\n")
    f.writelines(f"{path}\t{speaker}\n" for path, speaker in rows)
  print(f"{len(rows)} recordings")


if __name__ == "__main__":
  main(*sys.argv[1:])
