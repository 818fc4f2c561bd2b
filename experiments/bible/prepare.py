"""Writes the text to pretrain on: the Bible's verses and dictionary glosses.

  python -m experiments.bible.prepare KJV.tsv.gz GLOSSES.tsv.gz OUT.txt

Of the Bible the train split alone, with an empty line between chapters; of the
dictionary all glosses, shuffled, since the file is sorted by class.
"""

import sys

import numpy as np

from d2v_jax.data.tables import Table


def main(kjv: str, glosses: str, out: str) -> None:
  """Writes a verse or gloss a line, an empty line between documents."""
  verses = Table(kjv, split="train").rows
  lines, chapter = [], None
  for row in verses:
    if (row["book"], row["chapter"]) != chapter:
      chapter = row["book"], row["chapter"]
      lines.append("")
    lines.append(row["text"])
  rows = Table(glosses).rows
  for i in np.random.default_rng(0).permutation(len(rows)):
    lines += ["", rows[i]["text"]]
  with open(out, "w", encoding="utf-8") as f:
    f.write("\n".join(lines).strip() + "\n")
  print(f"{len(verses)} verses, {len(rows)} glosses")


if __name__ == "__main__":
  main(*sys.argv[1:])
