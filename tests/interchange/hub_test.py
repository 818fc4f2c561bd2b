"""Repositories of the Hub: its cache, a server in its place, pushes."""

import hashlib
import http.server
import json
import threading
from collections.abc import Mapping

import jax
import numpy as np
import pytest

hub_package = pytest.importorskip(
  "huggingface_hub", reason="the extra `hf` has huggingface_hub"
)

from huggingface_hub import constants  # noqa: E402

from d2v_jax.interchange import command, hub, native, run  # noqa: E402
from d2v_jax.interchange.model import Model, build  # noqa: E402
from d2v_jax.interchange.weights import InterchangeError  # noqa: E402

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ENCODER = dict(
  name="text", vocab_size=100, max_tokens=8, width=8, depth=1, num_heads=2
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
  """An empty cache of the Hub; nothing can be downloaded."""
  folder = tmp_path / "cache"
  folder.mkdir()
  monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
  monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
  monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
  return folder


def cached(cache, files, name="owner--name"):
  """Files as the Hub's client keeps them: links to blobs beside."""
  repository = cache / f"models--{name}"
  (repository / "refs").mkdir(parents=True)
  (repository / "refs/main").write_text(COMMIT)
  (repository / "blobs").mkdir()
  snapshot = repository / "snapshots" / COMMIT
  snapshot.mkdir(parents=True)
  for file, content in files.items():
    blob = hashlib.sha256(content).hexdigest()
    (repository / "blobs" / blob).write_bytes(content)
    (snapshot / file).symlink_to(f"../../blobs/{blob}")
  return snapshot


@pytest.fixture
def files(tmp_path):
  """A folder that can be imported: file -> content."""
  network, _ = build("text", ENCODER, {})
  params = network.init(
    jax.random.key(0), {"inputs": np.zeros((1, 4), np.int32)}
  )
  model = Model(
    modality="text",
    encoder=ENCODER,
    objective={},
    params=jax.tree.map(np.asarray, params),
    teacher_params={},
    description="made up",
  )
  native.write(tmp_path / "made", model)
  return {p.name: p.read_bytes() for p in (tmp_path / "made").iterdir()}


class Server(http.server.BaseHTTPRequestHandler):
  """The Hub's answers to those who download owner/name."""

  files: Mapping[str, bytes]

  def log_message(self, *_):
    pass

  def do_HEAD(self):
    self.do_GET()

  def do_GET(self):
    path = self.path.partition("?")[0]
    if path.startswith("/api/models/owner/name/revision/"):
      self._answer(json.dumps({"id": "owner/name", "sha": COMMIT}).encode())
    elif path.startswith(f"/api/models/owner/name/tree/{COMMIT}"):
      tree = [
        {"type": "file", "path": k, "size": len(v), "oid": _oid(v)}
        for k, v in self.files.items()
      ]
      self._answer(json.dumps(tree).encode())
    elif path.startswith(f"/owner/name/resolve/{COMMIT}/"):
      self._answer(self.files[path.rpartition("/")[2]])
    else:
      self._answer(b'{"error": "Repository not found"}', 404)

  def _answer(self, content, status=200):
    self.send_response(status)
    self.send_header("Content-Length", str(len(content)))
    self.send_header("ETag", f'"{_oid(content)}"')
    self.send_header("X-Repo-Commit", COMMIT)
    if status == 404:
      self.send_header("X-Error-Code", "RepoNotFound")
    self.end_headers()
    if self.command == "GET":
      self.wfile.write(content)


def _oid(content):
  return hashlib.sha1(content).hexdigest()


@pytest.fixture
def server(files, cache, monkeypatch):
  """Its class; the Hub's client asks it."""
  served = {**files, "onnx.bin": b"", "flax_model.msgpack": b"not wanted"}
  handler = type("Served", (Server,), {"files": served})
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
    threading.Thread(target=made.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{made.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
      constants,
      "HUGGINGFACE_CO_URL_TEMPLATE",
      address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield handler
    made.shutdown()


def test_import_from_the_cache_without_a_network(cache, files, tmp_path):
  cached(cache, files)
  dest = tmp_path / "run"
  arguments = ["import", "hf://owner/name", str(dest), "--no-check"]
  assert command.main(arguments) == 0
  origin = json.loads((dest / "run.json").read_text())["origin"]
  assert origin["source"] == f"hf://owner/name@{COMMIT}"
  assert run.read(dest).encoder["width"] == 8


def test_only_what_is_needed_is_downloaded(server, files, cache, monkeypatch):
  folder, named = hub.fetch("hf://owner/name@main")
  assert named == f"hf://owner/name@{COMMIT}"
  assert {p.name for p in folder.iterdir()} == {
    name for name in files if name.endswith((".json", ".safetensors", ".md"))
  }
  for name in (x.name for x in folder.iterdir()):
    assert (folder / name).read_bytes() == files[name]
  # From then on no network is needed.
  monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
  assert hub.fetch("hf://owner/name") == (folder, named)


def test_pickles_where_there_is_nothing_else(server):
  server.files = {"config.json": b"{}", "pytorch_model.bin": b"weights"}
  folder, _ = hub.fetch("hf://owner/name")
  assert (folder / "pytorch_model.bin").read_bytes() == b"weights"


def test_inspect(cache, files, capsys):
  cached(cache, files)
  assert command.main(["inspect", "hf://owner/name"]) == 0
  out = capsys.readouterr().out
  assert f"hf://owner/name@{COMMIT}: an export of ours" in out
  assert "can be imported" in out


@pytest.mark.parametrize("source", ["hf://name", "hf://a/b/c", "hf://a b/c"])
def test_names_that_are_none(source):
  with pytest.raises(InterchangeError, match="is owner/name, as in hf://"):
    hub.fetch(source)


def test_what_is_not_in_the_cache(cache, tmp_path, capsys):
  arguments = ["import", "hf://owner/other", str(tmp_path / "run")]
  assert command.main(arguments) == 2
  assert (
    "error: hf://owner/other was not downloaded (LocalEntryNotFoundError: "
  ) in capsys.readouterr().err
  assert not (tmp_path / "run").exists()


def test_a_repository_that_does_not_exist(server):
  with pytest.raises(InterchangeError, match=r"not downloaded \(RepositoryNot"):
    hub.fetch("hf://owner/other")


def test_without_the_package(monkeypatch):
  monkeypatch.setattr(hub.importlib.util, "find_spec", lambda _: None)
  for call in (lambda: hub.fetch("hf://a/b"), lambda: hub.check_push("a/b")):
    with pytest.raises(InterchangeError, match=r"pip install 'd2v_jax\[hf\]'"):
      call()


class Pushed:
  """Stands in for HfApi: what it was asked for."""

  calls: list[tuple]

  def create_repo(self, name, **options):
    self.calls.append((name, options))

  def upload_folder(self, *, repo_id, folder_path, commit_message):
    self.calls.append((repo_id, folder_path, commit_message))
    return f"https://hub/{repo_id}/commit/1"


@pytest.fixture
def made(files, tmp_path):
  """Workdir of a run to export."""
  dest = tmp_path / "run"
  arguments = ["import", str(tmp_path / "made"), str(dest), "--no-check"]
  assert command.main(arguments) == 0
  return str(dest)


def test_an_export_is_pushed(made, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(hub_package, "HfApi", Pushed)
  monkeypatch.setattr(Pushed, "calls", [], raising=False)
  dest = str(tmp_path / "out")
  arguments = ["export", made, dest, "--format=safetensors"]
  assert command.main([*arguments, "--push=owner/name"]) == 0
  assert "pushed to https://hub/owner/name/commit/1" in capsys.readouterr().out
  assert Pushed.calls == [
    ("owner/name", {"private": True, "exist_ok": True}),
    ("owner/name", dest, "Written by d2v convert export"),
  ]


def test_a_push_that_fails_leaves_the_folder(made, tmp_path, cache, capsys):
  dest = tmp_path / "out"
  arguments = ["export", made, str(dest), "--format=safetensors"]
  assert command.main([*arguments, "--push=owner/name"]) == 2
  assert (
    "error: --push=owner/name: nothing was pushed (OfflineModeIsEnabled: "
  ) in (err := capsys.readouterr().err)
  assert f"`hf upload owner/name {dest}` sends it later" in err
  assert (dest / native.WEIGHTS).exists()


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (("--format=jax", "--push=a/b"), "--push: --format=jax writes a file; "),
    (("--format=hf", "--push=name"), "--push=name: a repository of the Hug"),
  ],
)
def test_what_cannot_be_pushed_is_said_first(flags, message, tmp_path, capsys):
  dest = tmp_path / "out"
  assert command.main(["export", "no/run", str(dest), *flags]) == 2
  assert f"error: {message}" in capsys.readouterr().err
  assert not dest.exists()
