"""Writes the table of transcribed phrases, split into train and test.

  python -m experiments.tuxwords.prepare TUXWORDS OUT.tsv

Prints config.data.labels.characters. The same phrase in several languages
is in one part; every tenth phrase is for the test. Punctuation is dropped, as
it cannot be heard.
"""

import csv
import pathlib
import sys
import zlib


def spoken(text: str) -> str:
  """Characters in upper case, words with one space between."""
  kept = "".join(c if c.isalpha() else " " for c in text.upper())
  return " ".join(kept.split())


def main(tuxwords: str, out: str) -> None:
  """Writes path, text, lang and split of every recording with a text."""
  root = pathlib.Path(tuxwords).resolve()
  rows, characters = [], set()
  with open(root / "manifest.tsv", encoding="utf-8") as f:
    for row in csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE):
      text = spoken(row["text"])
      if text:
        characters.update(text.replace(" ", ""))
        part = "test" if zlib.crc32(row["item"].encode()) % 10 == 0 else "train"
        rows.append((str(root / row["path"]), text, row["lang"], part))
  with open(out, "w", encoding="utf-8") as f:
    f.write("path\ttext\tlang\tsplit\n")
    f.writelines("\t".join(row) + "\n" for row in rows)
  tests = sum(row[3] == "test" for row in rows)
  print(f"{len(rows)} phrases, {tests} for the test")
  print(f"{len(characters) + 1} characters: |{''.join(sorted(characters))}")


if __name__ == "__main__":
  main(*sys.argv[1:])
