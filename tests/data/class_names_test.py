import pytest

from d2v_jax.data.class_names import check_alike


@pytest.mark.parametrize(
  "names",
  [
    ("cat", "cat "),
    ("1", "2", "1.0"),
    ("-3", "-3.00"),
    ("caf\u00e9", "cafe\u0301"),
  ],
)
def test_what_looks_the_same(names):
  with pytest.raises(
    ValueError, match=r"^Folder has the classes '.*', '.*', which differ .*; do"
  ):
    check_alike(names, "Folder", "do this")


def test_what_does_not():
  check_alike(("Cat", "cat", "01", "1", "1.5", "10", "a b", "ab"), "", "")
