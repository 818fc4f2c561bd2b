"""What was measured of parts is drawn, and verdicts are told."""

from d2v_jax.report import parts, stored
from d2v_jax.training.trouble.diagnoses import DIAGNOSES
from tests.report import workdirs

PARTS = ("targets", "block_10", "features", "block_02", "output", "predictions")
ORDER = ["features", "layer 2", "layer 10", "output", "targets", "predictions"]


def written(folder, verdicts=()):
  """Ranks at steps 10 to 50, and verdicts (name, since, steps it is in)."""
  lines = []
  for step in range(10, 60, 10):
    line = {f"health/rank/{x}": step + i for i, x in enumerate(PARTS)}
    line["health/explained/all"] = 0.5
    for name, since, steps in verdicts:
      if step in steps:
        line[f"health/verdict/{name}"] = since
    lines.append({"step": step, **line})
  return stored.read(workdirs.write(folder, lines))


def test_a_map_of_each_measure(tmp_path):
  (figure,) = parts.by_part(written(tmp_path / "one"), several=False)
  title = figure.find("figcaption").find("b").text
  assert title == "effective rank, by part"
  titles = [x.text for x in figure.iter("title")]
  assert [x.partition(",")[0] for x in titles[::5]] == ORDER
  assert titles[0] == "features, step 10: 12"
  (figure,) = parts.by_part(written(tmp_path / "two"), several=True)
  assert figure.find("figcaption").find("b").text.startswith("two: effective")


def test_verdicts_say_since_when_and_what_to_do(tmp_path):
  run = written(
    tmp_path / "one",
    [
      ("position_only", 10, (20, 30)),
      ("position_only", 40, (50,)),
      ("memorising", 20, (30, 40)),
    ],
  )
  (table,) = parts.verdicts([run])
  rows = [[x.text for x in row] for row in table.iter("tr")][1:]
  assert [x[:3] for x in rows] == [
    ["one", "position only", "10 to 30"],
    ["one", "position only", "40 at the end still"],
    ["one", "memorising", "20 to 40"],
  ]
  it = DIAGNOSES["memorising"]
  assert rows[2][3:] == [it.meaning, it.causes, it.action]


def test_nothing_was_found(tmp_path):
  (said,) = parts.verdicts([written(tmp_path / "one")])
  assert "No verdict" in workdirs.text_of(said)
  assert parts.verdicts([stored.read(workdirs.write(tmp_path / "two"))]) == []
