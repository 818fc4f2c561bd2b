"""Rules for text: from what it is to the fields of a config."""

import dataclasses

from d2v_jax.config import ConfigError
from d2v_jax.deriving import shared
from d2v_jax.deriving.marks import Chosen

_LARGE = 2_000_000  # characters, from which on the network is text_files.py's
# Characters, and the tokens that a vocabulary has for so many or more.
_VOCABULARIES = ((5_000_000, 8_000), (300_000, 2_000), (50_000, 1_000))
_PER_TOKEN = 4  # characters, about


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextFindings:
  """What some texts show.

  Attributes:
    count: lines or rows that can be used.
    characters: of all of them, about.
  """

  count: int
  characters: int


def choose(
  found: TextFindings, chosen: Chosen, small: bool, devices: int
) -> bool:
  """Chooses what depends on the text; see `images.choose`."""
  small = small or found.characters < _LARGE
  size = next((v for n, v in _VOCABULARIES if found.characters >= n), 0)
  if not size and chosen.is_open("encoder.vocab_size"):
    raise ConfigError(
      f"config.data.source: got about {found.characters} characters, too few "
      f"to learn from; {_VOCABULARIES[-1][0]} are the least that sizes are "
      "derived for, and features worth having need millions. Give more text, "
      "or use a network that is trained already (docs/convert.md)."
    )
  amount = f"about {found.characters} characters"
  chosen.take("encoder.vocab_size", size, amount)
  what = f"as in {'verses.py' if small else 'text_files.py'}, {amount}"
  tokens = chosen.take("encoder.max_tokens", 64 if small else 128, what)
  chosen.take("data.buckets.lengths", (tokens,), "encoder.max_tokens")
  shared.network(chosen, *((128, 3) if small else (192, 4)), what)
  chosen.take("encoder.dropout", 0.0 if small else 0.1, what)
  chosen.take("schedule.peak", 2e-3 if small else 1e-3, what)
  shared.batch_size(chosen, blocks(found, tokens), 32, devices)
  return small


def blocks(found: TextFindings, tokens: int) -> int:
  """Examples that text is packed into, about.

  Args:
    found: what it shows.
    tokens: of an example.
  """
  return found.characters // (_PER_TOKEN * max(tokens, 1))


def averages(total_steps: int) -> tuple[float, float]:
  """The teacher's decay at the start and the end of a run of such a length."""
  # verses.py has 600 updates, text_files.py 4,000.
  return (0.998, 0.9998) if total_steps < 1_000 else (0.999, 0.9999)
