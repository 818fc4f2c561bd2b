"""Tokens are those of the text, and the hidden ones are marked."""

import numpy as np

from d2v_jax.data.layout import BOS, EOS, PAD
from d2v_jax.data.text import tokenizer
from d2v_jax.report.pictures.texts import TextDrawer

KJV = tokenizer.load(name="kjv")
DRAWER = TextDrawer(KJV, KJV.vocab_size)
TEXT = "In the beginning <b>God</b>"


def row():
  tokens, _ = KJV.encode_flat([TEXT])
  return {
    "inputs": np.array([BOS, *tokens, EOS, PAD, PAD], np.int32),
  }


def test_all_tokens_are_there():
  example = row()
  made = DRAWER.plain(example)
  assert "".join(x.text for x in made) == f"<s>{TEXT}</s>"
  assert DRAWER.tokens(example) == len(made) == len(example["inputs"]) - 2


def test_hidden_ones_are_marked():
  example = row()
  mask = np.zeros(len(example["inputs"]), bool)
  mask[[1, 3]] = True
  made = list(DRAWER.hidden(example, mask))
  assert [i for i, x in enumerate(made) if x.get("class") == "hidden"] == [1, 3]
  assert made[1].get("title") == "the student reads <mask>"
  student = example["inputs"].copy()
  student[1] = example["inputs"][3]
  made = DRAWER.hidden({**example, "student_inputs": student}, mask)
  assert made[1].get("title") == f"the student reads {made[3].text}"


def test_colours_can_be_read_on():
  example = row()
  colours = np.zeros((len(example["inputs"]), 3), np.uint8)
  colours[0] = 255
  made = DRAWER.coloured(example, colours)
  assert made[0].get("style") == "background:#ffffff;color:#000"
  assert made[1].get("style") == "background:#000000;color:#fff"


def test_a_mark():
  made = DRAWER.marked(row(), 2)
  assert [x.get("class") for x in made][:4] == [None, None, "frame", None]
