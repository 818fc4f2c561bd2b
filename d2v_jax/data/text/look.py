"""What is seen of one text when data are checked."""

import unicodedata

from d2v_jax.data.checking.look import Look, at_anything, digest
from d2v_jax.data.source import Record

_UNDECODED = "\N{REPLACEMENT CHARACTER}"


def look(record: Record) -> Look:
  """Looks at a text, a pair of them, or a sequence of tokens.

  The digest is of the texts in Unicode's composed normal form, with any white
  space between words as one space.

  Args:
    record: 'text' and perhaps 'text_b'; or 'tokens' int [n].
  """
  if "text" not in record:
    return at_anything(record)
  texts = [record[key] for key in ("text", "text_b") if key in record]
  words = [unicodedata.normalize("NFC", text).split() for text in texts]
  oddity = ""
  if not any(words):
    oddity = "without any word"
  elif any(_UNDECODED in text for text in texts):
    oddity = "with characters that were lost in another encoding"
  return Look(
    digest=digest([" ".join(some) for some in words]),
    numbers={
      "length, characters": sum(map(len, texts)),
      "length, words": sum(map(len, words)),
    },
    oddity=oddity,
  )
