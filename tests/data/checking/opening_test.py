from d2v_jax.data.checking.opening import same_as
from tests.data.checking.things import Things


def test_records_of_the_same_names_are_the_same():
  sources = {
    "a": Things(range(300)),
    "b": Things(range(299)),
    "c": Things([0] * 300),
    "d": None,
    "e": Things(range(300), class_names=("cat",)),
    "f": Things(range(299)),
    "g": Things(range(300), class_names=("cat",)),
    "h": None,
  }
  assert same_as(sources) == {"c": "a", "f": "b", "g": "e"}


def test_a_name_that_differs():
  class Others(Things):
    def record_name(self, index):
      return f"other {index}"

  assert same_as({"a": Things([1, 2]), "b": Others([1, 2])}) == {}
