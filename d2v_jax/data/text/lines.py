"""Records of text as documents."""

from collections.abc import Iterator

from d2v_jax.data.source import Source


def each_a_document(source: Source) -> Iterator[list[str]]:
  """Yields the lines of each record, stripped, those of its second text last.

  Args:
    source: of records with 'text', and 'text_b' where it holds pairs.
  """
  for i in range(len(source)):
    record = source[i]
    yield sentences(f"{record['text']}\n{record.get('text_b', '')}")


def sentences(text: str) -> list[str]:
  """Returns the lines of a text that are not empty, stripped."""
  return [line for line in map(str.strip, text.split("\n")) if line]
