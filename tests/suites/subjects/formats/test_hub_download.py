"""`hf:` subjects against a real HTTP server on loopback that speaks the Hub's protocol."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats import hub, load_subject

OLD, NEW = "a" * 40, "b" * 40
REPOSITORY = "somebody/lungs"


class Hub:
    """A hub with one repository: commits with their files, names of commits, and a list of what was asked for."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, bytes]] = {}
        self.names: dict[str, str] = {}
        self.repository = REPOSITORY
        self.asked: list[str] = []
        self.broken = 0
        self.cut = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self, body=True)

            def do_HEAD(self) -> None:
                outer.answer(self, body=False)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def publish(self, folder: Path, commit: str, name: str = "main", **extra: bytes) -> None:
        self.commits[commit] = {file.name: file.read_bytes() for file in folder.iterdir()} | extra
        self.names[name] = commit

    def answer(self, request: BaseHTTPRequestHandler, body: bool) -> None:
        path = request.path.split("?")[0].strip("/")
        self.asked.append(path)
        if self.broken:
            self.reply(request, self.broken, b"", body)
            return
        parts = path.split("/")
        is_api = parts[:2] == ["api", "models"]
        repository = "/".join(parts[2:4] if is_api else parts[:2])
        if repository != self.repository:
            self.reply(request, 404, b"", body, **{"X-Error-Code": "RepoNotFound"})
            return
        verb, *rest = parts[4:] if is_api else parts[2:]
        commit = self.names.get(rest[0], rest[0])
        if commit not in self.commits:
            self.reply(request, 404, b"", body, **{"X-Error-Code": "RevisionNotFound"})
            return
        files = self.commits[commit]
        if verb == "revision":
            siblings = [{"rfilename": name} for name in files]
            self.reply(request, 200, json.dumps({"id": repository, "sha": commit, "siblings": siblings}).encode(), body)
        elif verb == "tree":
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in files.items()
            ]
            self.reply(request, 200, json.dumps(tree).encode(), body)
        else:
            content = files["/".join(rest[1:])]
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            self.reply(request, 200, content, body, **{"X-Repo-Commit": commit, "ETag": etag})

    def reply(self, request: BaseHTTPRequestHandler, status: int, content: bytes, body: bool, **headers: str) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if body and self.cut and len(content) > 5000:
            request.wfile.write(content[: len(content) // 2])
            request.close_connection = True
        elif body:
            request.wfile.write(content)

    def downloads(self) -> set[str]:
        return {path.split("/")[-1] for path in self.asked if "/resolve/" in path}


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Return a running hub, with huggingface_hub pointed at it and an empty cache."""
    running = Hub()
    monkeypatch.setenv("HF_ENDPOINT", running.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    yield running
    running.stop()


def test_safetensors_and_json_are_fetched_and_nothing_else(server, hub_folder):
    server.publish(hub_folder, NEW, **{"best.ckpt": b"pickle", "train.py": b"code", "pytorch_model.bin": b"pickle"})
    subject = load_subject(f"hf:{REPOSITORY}")
    assert server.downloads() == {"config.json", "preprocessor_config.json", "model.safetensors"}
    assert subject.name == "lungs"
    assert subject.provenance.revision == NEW
    assert subject.provenance.source == f"hf:{REPOSITORY}"
    assert subject.provenance.spec == f"hf:{REPOSITORY}"
    expected = hashlib.sha256((hub_folder / "model.safetensors").read_bytes()).hexdigest()
    assert subject.provenance.sha256 == expected
    assert subject.fingerprint == load_subject(str(hub_folder)).fingerprint


def test_published_is_an_alias(server, hub_folder):
    server.repository = hub.PUBLISHED
    server.publish(hub_folder, NEW)
    subject = load_subject("published")
    assert subject.provenance.source == "hf:kiselyovd/chest-xray-classifier"
    assert subject.name == "chest-xray-classifier"


def test_a_revision_is_pinned_by_commit_branch_or_tag(server, published):
    (old, _), (new, _) = published(), published(classes=("x", "y"))
    server.publish(old, OLD, name="v1.0")
    server.publish(new, NEW)
    for revision, commit in ((f"@{OLD}", OLD), ("@v1.0", OLD), (f"@{NEW}", NEW), ("@main", NEW), ("", NEW)):
        subject = load_subject(f"hf:{REPOSITORY}{revision}")
        assert subject.provenance.revision == commit
        assert len(subject.classes) == (3 if commit == OLD else 2)


def test_when_main_moves_the_next_load_sees_it(server, published):
    (old, _), (new, _) = published(), published(classes=("x", "y"))
    server.publish(old, OLD)
    assert load_subject(f"hf:{REPOSITORY}").provenance.revision == OLD
    server.publish(new, NEW)
    assert load_subject(f"hf:{REPOSITORY}").provenance.revision == NEW


@pytest.mark.parametrize("how", ["stopped", "500", "offline"])
def test_the_second_load_needs_no_hub(server, hub_folder, monkeypatch, how):
    server.publish(hub_folder, NEW)
    first = load_subject(f"hf:{REPOSITORY}")
    server.asked.clear()
    if how == "stopped":
        server.stop()
        monkeypatch.setattr(Hub, "stop", lambda self: None)
    elif how == "500":
        server.broken = 500
    else:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for revision in ("", "@main", f"@{NEW}"):
        second = load_subject(f"hf:{REPOSITORY}{revision}")
        assert second.provenance.revision == NEW
        assert second.fingerprint == first.fingerprint
    assert not server.downloads()


def refused(spec: str) -> str:
    with pytest.raises(SubjectProblem) as caught:
        load_subject(spec)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(spec)
    return message


def test_an_unknown_repository(server):
    message = refused("hf:nobody/nothing")
    assert "no such repository" in message
    assert f"{server.url}/nobody/nothing" in message
    assert "pass its path" in message


def test_an_unknown_revision(server, hub_folder):
    server.publish(hub_folder, NEW)
    assert "no such revision" in refused(f"hf:{REPOSITORY}@v9")
    assert "at revision v9" in refused(f"hf:{REPOSITORY}@v9")


@pytest.mark.parametrize("how", ["500", "refused connection", "offline"])
def test_an_unreachable_hub_says_what_was_tried_and_what_to_do(server, monkeypatch, how):
    if how == "500":
        server.broken = 500
    elif how == "refused connection":
        server.stop()
        monkeypatch.setattr(Hub, "stop", lambda self: None)
    else:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = refused("published")
    assert "cannot be reached" in message
    assert f"{server.url}/kiselyovd/chest-xray-classifier" in message
    assert "cache" in message
    assert "pass its path instead" in message


def test_a_broken_download_is_told_and_mended_by_trying_again(server, hub_folder):
    server.publish(hub_folder, NEW)
    server.cut = True
    assert "downloading failed" in refused(f"hf:{REPOSITORY}")
    server.cut = False
    assert load_subject(f"hf:{REPOSITORY}").provenance.revision == NEW


def test_a_repository_without_safetensors_is_told(server, hub_folder):
    (hub_folder / "model.safetensors").unlink()
    server.publish(hub_folder, NEW, **{"best.ckpt": b"pickle"})
    assert "model.safetensors is missing" in refused(f"hf:{REPOSITORY}")


@pytest.mark.parametrize("spec", ["hf:", "hf:lungs", "hf:a/b/c", "hf:a/b@", "hf:a b/c", "hf:../x@y z"])
def test_a_misspelt_repository_is_told(spec):
    assert "should read hf:owner/name" in load_message(spec)


def load_message(spec: str) -> str:
    with pytest.raises(SubjectProblem) as caught:
        load_subject(spec)
    return str(caught.value)
