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
    text = f"{record['text']}\n{record.get('text_b', '')}"
    yield [line for line in map(str.strip, text.split("\n")) if line]
