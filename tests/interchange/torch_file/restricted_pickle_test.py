"""What a pickle may not do: run, import, or take memory and time."""

import pickle
import struct
import tracemalloc

import pytest

from d2v_jax.interchange.torch_file.reader import load
from d2v_jax.interchange.weights import InterchangeError
from tests.interchange.torch_file.refusals import refused, refused_bytes
from tests.interchange.torch_file.torch_files import (
  Call,
  Global,
  Object,
  Raw,
  Writer,
  save,
  write_legacy,
  write_zip,
)


@pytest.mark.parametrize("as_legacy", [False, True])
def test_a_reduced_os_system_does_not_run(path, tmp_path, as_legacy):
  marker = tmp_path / "ran"

  class Evil:
    def __reduce__(self):
      import os

      return os.system, (f"touch {marker}",)

  program = pickle.dumps({"model": Evil()}, 2)
  pickle.loads(program)  # it is a real one
  assert marker.exists()
  marker.unlink()
  write = write_legacy if as_legacy else write_zip
  match = r"refused to import (posix|nt)\.system: .*nothing of it was run"
  refused_bytes(path, write(program, {}), match)
  assert not marker.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_names_what_it_would_import(path, protocol):
  program = pickle.dumps({"x": eval}, protocol)
  match = r"refused to import builtins\.eval"
  refused_bytes(path, write_zip(program, {}), match)


@pytest.mark.parametrize(
  "name",
  [
    "builtins.eval",
    "builtins.exec",
    "builtins.getattr",
    "builtins.__import__",
    "builtins.type",
    "os.system",
    "subprocess.Popen",
    "operator.attrgetter",
    "functools.partial",
    "torch.hub.load",
    "torch.load",
    "torch.storage._load_from_bytes",
    "torch.jit.load",
    "torch.nn.modules.linear.Linear",
    "numpy.testing._private.utils.runstring",
    "numpy.load",
    "_pickle.loads",
    "collections.OrderedDict.__class__",
    "argparse.Namespace.__init__.__globals__",
    "copyreg._reconstructor",
  ],
)
def test_imports_are_refused_by_name(path, name, legacy):
  module, _, attribute = name.rpartition(".")
  match = f"refused to import {name}"
  refused(path, Global(module, attribute), match, legacy)
  refused(path, Call(Global(module, attribute), ("1",)), match, legacy)
  refused(path, Object(module, attribute, {}), match, legacy)


def test_nested_calls(path):
  get = Global("__builtin__", "getattr")
  system = Call(get, (Call(Global("__builtin__", "__import__"), ("os",)), "x"))
  refused(path, Call(system, ("ls",)), r"refused to import builtins\.getattr")
  inner = pickle.dumps(print, 2)
  loads = Global("torch.storage", "_load_from_bytes")
  match = r"refused to import torch\.storage\._load_from_bytes"
  refused(path, Call(loads, (inner,)), match)


def test_names_in_messages_are_harmless(path):
  refused(path, Global("os\x1b[2J", "system"), r"import os\\x1b\[2J\.system")
  refused(path, Global("o\\x73", "system"), "refused the escaped name")
  long = Global("a" * 5000, "b")
  save(path, long)
  with pytest.raises(InterchangeError) as caught:
    load(path)
  assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
  "function",
  [
    "text",
    Global("torch", "FloatStorage"),
    Global("torch", "float32"),
    Global("numpy", "ndarray"),
    Call(Global("torch", "Size"), ((1,),)),
  ],
)
def test_what_is_not_a_function_is_not_called(path, function):
  refused(path, Call(function, ()), "refused to call ")


def test_state_is_set_only_where_there_is_one(path):
  program = Writer()
  for thing in ({}, [], "text", Global("argparse", "Namespace")):
    state = Raw(program._any(thing) + program._any({"x": 1}) + b"b")
    refused(path, state, "refused to set the state of ")
  for state in ([("x", 1)], {1: 2}):
    refused(path, Object("argparse", "Namespace", state), "are no dict")


@pytest.mark.parametrize(
  ("code", "match"),
  [
    (b"(ios\nsystem\n", r"refused to import os\.system"),
    (b"(iargparse\nNamespace\n", "refused the pickle instruction INST"),
    (b"(cargparse\nNamespace\no", "refused the pickle instruction OBJ"),
    (b"\x82\x01", "refused the pickle instruction EXT1"),
    (b"Pos.system\n", "refused the pickle instruction PERSID"),
    (b"\x8f", "refused the pickle instruction EMPTY_SET"),
    (b"cargparse\nNamespace\n)}\x92", "instruction NEWOBJ_EX"),
    (b"\x8c\x02os\x8c\x06system\x93", r"refused to import os\.system"),
  ],
)
def test_instructions(path, code, match, legacy):
  refused(path, Raw(code), match, legacy)


@pytest.mark.parametrize(
  "code",
  [
    b"X" + struct.pack("<I", 2**32 - 1),  # text
    b"B" + struct.pack("<I", 2**32 - 1),  # bytes
    b"T" + struct.pack("<i", 2**31 - 1),
    b"\x8b" + struct.pack("<i", 2**31 - 1),  # a number
    b"\x8d" + struct.pack("<Q", 2**62),
    b"\x8e" + struct.pack("<Q", 2**64 - 1),
    b"\x96" + struct.pack("<Q", 2**62),
    b"\x95" + struct.pack("<Q", 2**62),  # a frame
    b"I" + b"9" * 9000 + b"\n",
    b"L" + b"9" * 8000 + b"L\n",
    b"r" + struct.pack("<I", 2**32 - 1),  # a place in the memo
    b"j" + struct.pack("<I", 2**32 - 1),
  ],
)
def test_huge_headers(path, code, legacy):
  tracemalloc.start()
  refused(path, Raw(code), "its pickle is damaged", legacy)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 2**20


def test_a_far_place_in_the_memo_takes_no_memory(path):
  put, get = (code + struct.pack("<I", 2**32 - 1) for code in (b"r", b"j"))
  save(path, Raw(b"K\x01" + put + b"0" + get))
  assert load(path) == 1


def test_deep_nesting(path):
  n = 200_000
  deep = [
    b"]" * n + b"a" * (n - 1),
    b")" + b"\x85" * n,
    b"}" + b"K\x01}" * n + b"s" * n,
  ]
  for code in deep:
    refused(path, Raw(code), "nested more than 100 levels deep")
  itself = b"]q\x00h\x00a"
  refused(path, Raw(itself), "contains itself")
  key = b"}" + b")" + b"\x85" * n + b"K\x01s"
  refused(path, Raw(key), "a tuple as a key of a dict")


def test_many_references(path):
  """Two to the 60 leaves, in as many steps as there are levels."""
  doubled = b")" + b"2\x86" * 60
  save(path, Raw(doubled))
  result = load(path)
  assert result[0] is result[1]
  # As a key of a dict its hash would take for ever.
  refused(path, Raw(b"}" + doubled + b"K\x01s"), "as a key of a dict")
  number = b"\x8b" + struct.pack("<i", 100) + b"\x01" * 100
  refused(path, Raw(b"}" + number + b"K\x01s"), "as a key of a dict")


def test_a_pickle_that_unfolds(path):
  text = b"X" + struct.pack("<I", 10_000) + b"a" * 10_000 + b"q\x01"
  latin = b"X\x06\x00\x00\x00latin1q\x02"
  encode = b"c_codecs\nencode\nq\x00"
  calls = b"h\x00h\x01h\x02\x86R0" * 1000
  refused(path, Raw(text + latin + encode + calls), "many times its own size")


def test_instructions_are_limited(path, monkeypatch):
  monkeypatch.setattr(
    "d2v_jax.interchange.torch_file.restricted_pickle._MOST_INSTRUCTIONS", 1000
  )
  refused(path, Raw(b"]0" * 600 + b"N"), "more than 1000 instructions")
