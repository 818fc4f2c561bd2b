"""What data come from: random access to records or to examples of them."""

from typing import Any, Protocol

Record = dict[str, Any]
Example = dict[str, Any]


class Source(Protocol):
  """Records, or what is made of them; it travels to worker processes.

  A source of examples, which the input pipeline takes, adds to each item
  'requested', its index, and 'record', which is another one where the record
  asked for is corrupt. Examples that differ in length have the attribute
  `lengths`, int [n], in samples or tokens, and those that find records corrupt
  have `problem(index)`, the reason. A source that knows classes has the
  attribute `class_names`, one that knows all labels without reading records
  `labels`, one for each, or None where there are none, and one whose content
  could change unnoticed between a run and its continuation `identity`, name ->
  what must be found again.
  """

  def __len__(self) -> int: ...

  def __getitem__(self, index: int) -> Record: ...

  def record_name(self, index: int) -> str:
    """Returns a name by which a person finds record `index`."""
    ...
