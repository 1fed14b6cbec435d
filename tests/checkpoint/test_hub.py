"""Local directories win; hub ids are downloaded, from a small imitation of the hub on this machine."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import errors

from edge_mtp.checkpoint.hub import WANTED_FILES, ResolvedCheckpoint, resolve_checkpoint
from edge_mtp.errors import CheckpointError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "google/gemma-4-E2B-it"
FILES = {
    "config.json": b'{"model_type": "gemma4"}',
    "model.safetensors": bytes(1000),
    "README.md": b"not wanted",
    "onnx/model.onnx": b"not wanted",
}


@pytest.fixture
def no_hub(monkeypatch):
    def refuse(*_args, **_settings):
        raise AssertionError("no download is due")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)


def test_a_local_directory_wins(tmp_path, monkeypatch, no_hub):
    monkeypatch.chdir(tmp_path)
    (tmp_path / REPOSITORY).mkdir(parents=True)
    assert resolve_checkpoint(REPOSITORY) == ResolvedCheckpoint(Path(REPOSITORY), "gemma-4-E2B-it", None)


def test_a_directory_of_the_hub_cache_keeps_its_commit(tmp_path, no_hub):
    snapshot = tmp_path / "models--google--gemma-4-E2B-it" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    assert resolve_checkpoint(str(snapshot)) == ResolvedCheckpoint(snapshot, REPOSITORY, COMMIT)


def test_a_local_directory_has_no_revision(tmp_path, no_hub):
    with pytest.raises(CheckpointError, match="is a local directory, which has no revision main"):
        resolve_checkpoint(str(tmp_path), "main")


@pytest.mark.parametrize("reference", ["nowhere", "./google/gemma", "/absent/gemma", "a/b/c", "~/absent/x"])
def test_what_is_neither_directory_nor_hub_id(tmp_path, monkeypatch, no_hub, reference):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist; give a checkpoint directory or a hub id"):
        resolve_checkpoint(reference)


def test_a_file_is_no_checkpoint(tmp_path, no_hub):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is a file; give a checkpoint directory"):
        resolve_checkpoint(str(tmp_path / "model.safetensors"))


def test_a_download_asks_for_what_is_needed_and_records_the_commit(tmp_path, monkeypatch):
    asked = {}
    snapshot = tmp_path / "models--google--gemma-4-E2B-it" / "snapshots" / COMMIT

    def download(repository, **settings):
        asked[repository] = settings
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert resolve_checkpoint(REPOSITORY, "main") == ResolvedCheckpoint(snapshot, REPOSITORY, COMMIT)
    assert asked == {REPOSITORY: {"revision": "main", "allow_patterns": list(WANTED_FILES)}}


def http_error(kind: type[Exception]) -> Exception:
    return kind("refused\nsecond line", response=SimpleNamespace(headers={}, status_code=403, request=None))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (http_error(errors.GatedRepoError), f"accept the licence at https://huggingface.co/{REPOSITORY}"),
        (http_error(errors.RepositoryNotFoundError), r"refused\); check the id, or run hf auth login"),
        (http_error(errors.RevisionNotFoundError), "check the revision v9"),
        (
            errors.LocalEntryNotFoundError("no network"),
            "LocalEntryNotFoundError: no network.*connect to the network",
        ),
        (OSError(28, "No space left on device"), "No space left on device.*run again to resume"),
        (RuntimeError(), "RuntimeError: no message.*run again to resume"),
    ],
)
def test_failed_downloads_say_what_to_do(monkeypatch, error, message):
    def fail(*_args, **_settings):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(CheckpointError, match=message):
        resolve_checkpoint(REPOSITORY, "v9")


class HubImitation(BaseHTTPRequestHandler):
    """Answers the three questions `snapshot_download` asks: the commit, the files, each file."""

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def answer(self, *, with_body: bool) -> None:
        path = self.path.split("?")[0]
        name = path.removeprefix(f"/{REPOSITORY}/resolve/{COMMIT}/")
        if path == f"/api/models/{REPOSITORY}/revision/main":
            body = json.dumps({"id": REPOSITORY, "sha": COMMIT, "siblings": []}).encode()
        elif path == f"/api/models/{REPOSITORY}/tree/{COMMIT}":
            tree = [{"type": "file", "path": p, "size": len(c), "oid": sha256(c).hexdigest()} for p, c in FILES.items()]
            body = json.dumps(tree).encode()
        elif name in FILES:
            body = FILES[name]
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Keeps the test's output clean."""


@contextmanager
def hub_imitation() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), HubImitation)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def resolve_elsewhere(endpoint: str, home: Path) -> subprocess.CompletedProcess[str]:
    """`resolve_checkpoint` in a process of its own, because the hub's address is read at import."""
    script = (
        "import sys; from edge_mtp.checkpoint.hub import resolve_checkpoint; "
        "found = resolve_checkpoint(sys.argv[1]); print(found.directory, found.source, found.revision)"
    )
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    settings = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
    }
    return subprocess.run(
        [sys.executable, "-c", script, REPOSITORY],
        env=kept | settings,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_real_download_and_its_use_without_network(tmp_path):
    with hub_imitation() as endpoint:
        first = resolve_elsewhere(endpoint, tmp_path)
    assert first.returncode == 0, first.stderr
    directory, source, revision = first.stdout.split()
    assert (source, revision) == (REPOSITORY, COMMIT)
    assert sorted(path.name for path in Path(directory).iterdir()) == ["config.json", "model.safetensors"]
    assert (Path(directory) / "config.json").read_bytes() == FILES["config.json"]
    assert resolve_elsewhere(endpoint, tmp_path).stdout == first.stdout


def test_no_network_and_nothing_downloaded(tmp_path):
    refused = resolve_elsewhere("http://127.0.0.1:9", tmp_path)
    assert refused.returncode != 0
    assert "connect to the network and run again" in refused.stderr
