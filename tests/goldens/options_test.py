from tests.goldens.made_up import skips
from tests.goldens.options import Options


def test_options():
  values = {"rate": 1, "kind": "b", "part": {"x": 0.5, "y": None}, "seed": 3}
  inert = {"nothing is drawn": ("seed",)}

  def options():
    return Options(values, inert, "model.")

  with skips(r"reads: model\.rate=1, model\.kind='b', model\.part="):
    options().finish()
  with skips(r"option model\.kind='b': not built here"):
    options().only("kind", "a", "c")
  with skips(r"option model\.rate=1: not built here"):
    options().off("absent", "rate")
  read = options()
  assert read["rate"] == 1 and read.get("absent", 7) == 7
  assert read.only("kind", "a", "b") == "b"
  assert read.only("absent", "default", "other") == "default"
  part = read.section("part")
  part.off("y")
  with skips(r"reads: model\.part\.x=0\.5$"):
    read.finish()
  part.ignore("only x would use it", "x")
  read.finish()
