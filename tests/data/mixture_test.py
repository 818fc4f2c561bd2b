import numpy as np
import pytest

from d2v_jax.data.mixture import Mixture


def sections(count):
  return tuple({"name": "folder", "path": f"data/{k}/"} for k in range(count))


@pytest.mark.parametrize(
  ("fields", "expected"),
  [
    ({}, (0.01, 0.09, 0.9)),  # as large as they are
    ({"temperature": 2.0}, (0.1, 0.3, 0.9486833)),  # square roots
    ({"temperature": 1e9}, (1, 1, 1)),
    ({"weights": (1, 2, 1)}, (1, 2, 1)),
  ],
)
def test_shares(fields, expected):
  mixture = Mixture(sources=sections(3), **fields)
  expected = np.array(expected) / sum(expected)
  np.testing.assert_allclose(mixture.shares((10, 90, 900)), expected, 1e-6)


def test_names():
  def labels(*found):
    return Mixture(sources=found).labels()

  kjv, digits = {"name": "kjv"}, {"name": "tfds", "builder": "mnist"}
  folder = {"name": "folder", "path": "/data/en/"}
  assert labels(kjv, digits, folder) == ("kjv", "mnist", "en")
  assert labels(folder, kjv, folder) == ("en_0", "kjv", "en_2")


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"sources": sections(1)}, "sources must be two or more sections, got 1"),
    ({"weights": (1, 2, 3)}, "weights must have one for each of the 2 sources"),
    ({"names": ("a",)}, "names must have one for each of the 2 sources, got 1"),
    ({"names": ("a", "a")}, "names must differ"),
    ({"weights": (1, 0)}, r"weights must be above 0 and finite, got \(1, 0\)"),
    ({"weights": (1, float("nan"))}, "weights must be above 0 and finite"),
    ({"temperature": 0.0}, "temperature must be above 0 and finite, got 0.0"),
    ({"weights": (1, 1), "temperature": 2.0}, "both say the shares; give one"),
  ],
)
def test_errors(fields, message):
  with pytest.raises(ValueError, match=message):
    Mixture(**{"sources": sections(2), **fields})
