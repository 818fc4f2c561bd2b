"""What a foreign checkpoint holds, in our terms."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Imported:
  """A model from elsewhere, on the way to become a run of ours.

  Attributes:
    modality: 'vision', 'speech' or 'text'.
    encoder: arguments of the modality's encoder constructor.
    objective: config.objective as far as the file tells it, its `name` first;
      `{}` for an encoder alone.
    params: the student's tree of float32 arrays: the encoder's sub-trees, and
      `head` where there is one.
    teacher_params: sub-trees of which the file has an average of its own; `{}`
      where it has none.
    data: what config.data must have for this model, such as `labels`.
    files: name -> bytes of files to put beside the run, such as a tokenizer.
    description: what the model is, in one line.
    notes: what was left out or assumed, and licences, a line each.
  """

  modality: str
  encoder: dict[str, Any]
  objective: dict[str, Any]
  params: dict[str, Any]
  teacher_params: dict[str, Any]
  data: dict[str, Any] = dataclasses.field(default_factory=dict)
  files: dict[str, bytes] = dataclasses.field(default_factory=dict)
  description: str = ""
  notes: tuple[str, ...] = ()
