import logging
import pickle
import types

import numpy as np
import pytest
from tensorflow_datasets.text.glue import Glue as Tfds

from d2v_jax.data.text import examples, glue, sources
from d2v_jax.data.text import tokenizer as tokenizer_lib
from d2v_jax.data.text.glue import Glue

MNLI = (
  "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\t"
  "sentence2_binary_parse\tsentence1_parse\tsentence2_parse\tsentence1\t"
  "sentence2"
)
STSB = (
  "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\t"
  "sentence2\tscore\n"
)

# The first lines of each task's files as GLUE has them, with our own words.
FILES = {
  "cola": {
    "train.tsv": 'gj04\t1\t\tShe said "so.\ngj04\t0\t*\tHim slept.\n',
    "dev.tsv": "ks08\t1\t\tIt rains.\n",
    "test.tsv": "index\tsentence\n0\tA cat sat.\n",
  },
  "mnli": {
    "train.tsv": f"{MNLI}\tlabel1\tgold_label\n"
    "0\t1\t1n\tfiction\tp\tp\tp\tp\tA man.\tA person.\tneutral\tentailment\n"
    "1\t2\t2c\tfiction\tp\tp\tp\tp\tNo.\tYes.\tneutral\tcontradiction\n",
    "dev_matched.tsv": f"{MNLI}\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\t"
    "gold_label\n0\t1\t1n\tg\tp\tp\tp\tp\tA\tB\tneutral\tneutral\tneutral\t"
    "entailment\tneutral\tneutral\n",
    "dev_mismatched.tsv": f"{MNLI}\tgold_label\n"
    "0\t1\t1n\tg\tp\tp\tp\tp\tC\tD\tcontradiction\n"
    "1\t2\t2n\tg\tp\tp\tp\tp\tE\tF\t-\n",
    "test_matched.tsv": f"{MNLI}\n0\t1\t1n\tg\tp\tp\tp\tp\tG\tH\n",
    "test_mismatched.tsv": f"{MNLI}\n0\t1\t1n\tg\tp\tp\tp\tp\tI\tJ\n",
  },
  "mrpc": {
    "train.tsv": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n"
    '1\t7\t8\tHe " left .\tHe went .\r\n0\t9\t10\tUp .\tDown .\r\n',
    "test.tsv": "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1\t2\tA\tB\n",
  },
  "qnli": {
    "train.tsv": "index\tquestion\tsentence\tlabel\n"
    "0\tWho?\tHe did.\tentailment\n1\tWhere?\tNo.\tnot_entailment\n",
  },
  "qqp": {
    "train.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    '1\t2\t3\tWhat is "it?\tWhat?\t0\n4\t5\t6\tHow?\t\t1\n',
    "test.tsv": "id\tquestion1\tquestion2\n0\tWhy?\tWhen?\n",
  },
  "rte": {
    "train.tsv": "index\tsentence1\tsentence2\tlabel\n"
    "0\tA dog ran.\tIt ran.\tentailment\n1\tYes\tNo\tnot_entailment\n",
  },
  "sst2": {
    "train.tsv": "sentence\tlabel\nfine and good \t1\nbad , dull \t0\n",
    "test.tsv": "index\tsentence\n0\tso so\n",
  },
  "stsb": {
    "train.tsv": f"{STSB}0\tnews\tf\t2012\t1\tnone\tnone\tA.\tB.\t5.000\n"
    '1\tnews\tf\t2012\t4\tnone\tnone\t"C.\tD.\t3.800\n',
  },
  "wnli": {
    "train.tsv": "index\tsentence1\tsentence2\tlabel\n"
    "0\tA b.\tA.\t1\n1\tC\tD\t0\n",
  },
}
TRAIN = {
  "cola": [
    {"text": 'She said "so.', "label": 1},
    {"text": "Him slept.", "label": 0},
  ],
  "mnli": [
    {"text": "A man.", "text_b": "A person.", "label": 0},
    {"text": "No.", "text_b": "Yes.", "label": 2},
  ],
  "mrpc": [
    {"text": 'He " left .', "text_b": "He went .", "label": 1},
    {"text": "Up .", "text_b": "Down .", "label": 0},
  ],
  "qnli": [
    {"text": "Who?", "text_b": "He did.", "label": 0},
    {"text": "Where?", "text_b": "No.", "label": 1},
  ],
  "qqp": [
    {"text": 'What is "it?', "text_b": "What?", "label": 0},
    {"text": "How?", "text_b": "", "label": 1},
  ],
  "rte": [
    {"text": "A dog ran.", "text_b": "It ran.", "label": 0},
    {"text": "Yes", "text_b": "No", "label": 1},
  ],
  "sst2": [
    {"text": "fine and good ", "label": 1},
    {"text": "bad , dull ", "label": 0},
  ],
  "stsb": [
    {"text": "A.", "text_b": "B.", "label": 1.0},
    {"text": '"C.', "text_b": "D.", "label": 0.76},
  ],
  "wnli": [
    {"text": "A b.", "text_b": "A.", "label": 1},
    {"text": "C", "text_b": "D", "label": 0},
  ],
}


@pytest.fixture
def folder(tmp_path):
  for task, files in FILES.items():
    (tmp_path / task).mkdir()
    for name, text in files.items():
      (tmp_path / task / name).write_bytes(text.encode())
  return tmp_path


def records(source):
  return [source[i] for i in range(len(source))]


def test_all_tasks_are_here():
  assert FILES.keys() == TRAIN.keys() == glue.TASKS.keys()
  assert sources.SOURCES["glue"] is Glue


@pytest.mark.parametrize("task", sorted(TRAIN))
def test_records(folder, task):
  source = pickle.loads(pickle.dumps(Glue(task, folder / task)))
  assert records(source) == TRAIN[task]
  assert {type(r["label"]) for r in records(source)} == {
    float if task == "stsb" else int
  }
  first = 1 if task == "cola" else 2
  assert source.record_name(1) == f"{folder / task / 'train.tsv'}:{first + 1}"
  texts = [[r["text"], r.get("text_b", "")] for r in TRAIN[task]]
  found = [[t.strip() for t in some if t.strip()] for some in texts]
  assert list(source.documents()) == found


@pytest.mark.parametrize("task", sorted(TRAIN))
def test_is_tensorflow_datasets(folder, task):
  (config,) = (c for c in Tfds.BUILDER_CONFIGS if c.name == task)
  source = Glue(task, folder / task)
  assert source.class_names == tuple(config.label_classes or ())
  if task == "mrpc":  # which it makes of other files
    return
  theirs = Tfds._generate_examples(
    types.SimpleNamespace(builder_config=config),
    folder / task / "train.tsv",
    "train",
  )
  for ours, (_, record) in zip(records(source), theirs, strict=True):
    texts = [record[name] for name in config.text_features]
    assert texts == [ours[k] for k in ("text", "text_b") if k in ours]
    label = record["label"]
    if task == "stsb":
      assert ours["label"] == pytest.approx(label / 5)
    else:
      number = label if type(label) is int else source.class_names.index(label)
      assert ours["label"] == number


def test_splits_of_mnli_agree_on_the_classes(folder, caplog):
  with caplog.at_level(logging.WARNING):
    splits = {
      name: Glue("mnli", folder / "mnli", name)
      for name in ("train", "dev_matched", "dev_mismatched")
    }
  names = ("entailment", "neutral", "contradiction")
  assert {s.class_names for s in splits.values()} == {names}
  assert records(splits["dev_matched"]) == [
    {"text": "A", "text_b": "B", "label": 1}
  ]
  assert records(splits["dev_mismatched"]) == [
    {"text": "C", "text_b": "D", "label": 2}
  ]
  assert splits["dev_mismatched"].left_out == {"broken": 0, "no agreement": 1}
  (message,) = caplog.messages
  assert "0 broken lines and 1 without agreement on the label" in message


@pytest.mark.parametrize(
  ("task", "split", "record"),
  [
    ("cola", "test", {"text": "A cat sat."}),
    ("mnli", "test_matched", {"text": "G", "text_b": "H"}),
    ("mnli", "test_mismatched", {"text": "I", "text_b": "J"}),
    ("mrpc", "test", {"text": "A", "text_b": "B"}),
    ("qqp", "test", {"text": "Why?", "text_b": "When?"}),
    ("sst2", "test", {"text": "so so"}),
  ],
)
def test_test_splits_have_no_labels(folder, task, split, record):
  source = Glue(task, folder / task, split, label=False)
  assert records(source) == [record] and source.class_names == ()
  with pytest.raises(
    ValueError, match=r"test\w*\.tsv has no labels, which GLUE"
  ):
    Glue(task, folder / task, split)


def test_other_splits_without_labels(folder):
  source = Glue("cola", folder / "cola", "dev", label=False)
  assert records(source) == [{"text": "It rains."}]
  # Nobody needs to agree on what is not read.
  source = Glue("mnli", folder / "mnli", "dev_mismatched", label=False)
  assert len(source) == 2


def test_broken_lines_are_left_out_and_counted(tmp_path, caplog):
  header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
  lines = [f"{i}\t1\t2\tq{i}\tr\t{i % 2}\n" for i in range(300)]
  lines[7:7] = ['7\t1\t2\tIs "it\n', '\tr"\t0\n', "\n"]
  path = tmp_path / "train.tsv"
  path.write_text(header + "".join(lines))
  with caplog.at_level(logging.WARNING):
    source = Glue("qqp", tmp_path)
  assert len(source) == 300
  assert source.left_out == {"broken": 2, "no agreement": 0}
  assert source.record_name(7) == f"{path}:12"
  assert source[7] == {"text": "q7", "text_b": "r", "label": 1}
  assert caplog.messages == [
    f"{path}: left out 2 broken lines and 0 without agreement on the label, "
    "kept 300"
  ]


def test_too_many_broken_lines(tmp_path):
  lines = ["0\tone\ttwo\tentailment\n"] * 97 + ["one\ttwo\n"] * 2
  text = "index\tsentence1\tsentence2\tlabel\n" + "".join(lines)
  (tmp_path / "train.tsv").write_text(text)
  with pytest.raises(
    ValueError,
    match=r"train\.tsv:99: 2 columns instead of 4, and 2 of 99 lines are "
    r"broken; is this GLUE's own file\?",
  ):
    Glue("rte", tmp_path)


def test_choices_are_listed(folder):
  with pytest.raises(
    ValueError, match="unknown task 'CoLA'; choose one of: cola, mnli, mrpc, "
  ):
    Glue("CoLA", folder / "cola")
  with pytest.raises(
    ValueError,
    match="unknown split 'dev' of task 'mnli'; choose one of: train, "
    "dev_matched, dev_mismatched, test_matched, test_mismatched",
  ):
    Glue("mnli", folder / "mnli", "dev")


def test_a_wrong_folder(folder):
  with pytest.raises(
    ValueError, match=r"no such file: .*rte/dev\.tsv; the folder has: train.tsv"
  ):
    Glue("rte", folder / "rte", "dev")
  with pytest.raises(ValueError, match="the folder has: nothing"):
    Glue("rte", folder / "none")
  with pytest.raises(
    ValueError,
    match="no column 'sentence1', which task 'rte' reads; it has: index, "
    "question, sentence, label",
  ):
    Glue("rte", folder / "qnli")


@pytest.mark.parametrize(
  ("task", "text", "message"),
  [
    (
      "rte",
      "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tmaybe\n",
      r"train\.tsv:2: 'label' is 'maybe', but must be one of: entailment, not_",
    ),
    (
      "cola",
      "sentence\tlabel\tmark\tsource\n",
      r"train\.tsv:1: 'label' is 'label', but must be one of: 0, 1",
    ),
    (
      "stsb",
      STSB + "0" + 9 * "\tx" + "\n",
      "'score' is 'x', but must be a number",
    ),
    (
      "stsb",
      STSB + "0" + 9 * "\t6" + "\n",
      "is '6', but must be a number from 0 to 5",
    ),
    (
      "stsb",
      STSB + "0" + 9 * "\tnan" + "\n",
      "is 'nan', but must be a number from",
    ),
    ("stsb", STSB, "train.tsv has no rows"),
    ("stsb", "", "no column 'sentence1'"),
    ("rte", "\udcff", "cannot read .*train.tsv: 'utf-8' codec"),
  ],
)
def test_bad_files(tmp_path, task, text, message):
  content = text.encode("utf-8", "surrogateescape")
  (tmp_path / "train.tsv").write_bytes(content)
  with pytest.raises(ValueError, match=message):
    Glue(task, tmp_path)


def test_tokens_of_pairs_and_single_texts(folder):
  tokenizer = tokenizer_lib.load(name="kjv")
  a, b = tokenizer.encode("A man."), tokenizer.encode("A person.")
  texts = examples.Texts(
    Glue("mnli", folder / "mnli"), {"name": "kjv"}, tokenizer.vocab_size
  )
  assert texts[0]["tokens"].tolist() == [0, *a, 2, 2, *b, 2]
  assert texts[0]["label"] == 0
  assert texts.class_names == ("entailment", "neutral", "contradiction")
  texts = examples.Texts(
    Glue("sst2", folder / "sst2"), {"name": "kjv"}, tokenizer.vocab_size
  )
  # Without the space at the end, as in RoBERTa's preparation.
  words = tokenizer.encode("fine and good")
  np.testing.assert_array_equal(texts[0]["tokens"], [0, *words, 2])
