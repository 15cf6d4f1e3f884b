"""The wire to a service, against servers that drip, cut and refuse: faults that no web framework would produce."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats import http_client, service_answer
from suites.harness.subjects.formats.http_client import Wire


class Server:
    """Answers each request with the next of its tricks, the last one for ever."""

    def __init__(self) -> None:
        self.tricks = ["whole"]
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked += 1
                trick = outer.tricks.pop(0) if len(outer.tricks) > 1 else outer.tricks[0]
                body = b'{"status": "ok"}'
                self.send_response(302 if trick == "moved" else 200)
                self.send_header("Content-Length", str(len(body)))
                if trick == "moved":
                    self.send_header("Location", "http://elsewhere/health")
                self.end_headers()
                if trick == "cut":
                    self.wfile.write(body[:5])
                    self.close_connection = True
                    return
                try:
                    for byte in body:
                        self.wfile.write(bytes([byte]))
                        time.sleep(0.1 if trick == "drip" else 0)
                except OSError:  # the client has lost patience
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.01)
    running = Server()
    yield running
    running.server.shutdown()
    running.server.server_close()
    running.thread.join()


def test_an_answer_that_drips_in_is_not_waited_for(server, monkeypatch):
    monkeypatch.setattr(http_client, "TRIES", 2)
    server.tricks = ["drip"]
    with pytest.raises(SubjectProblem, match=r"no answer within 0.3 s .*tried 2 times"):
        Wire(server.url, timeout=0.3, workers=1).get("/health")
    assert server.asked == 2


def test_a_cut_answer_is_asked_for_again(server):
    server.tricks = ["cut", "cut", "whole"]
    assert Wire(server.url, timeout=5, workers=1).get("/health") == {"status": "ok"}
    assert server.asked == 3


def test_a_service_that_always_cuts_is_given_up(server):
    server.tricks = ["cut"]
    with pytest.raises(SubjectProblem, match=r"failed \(RemoteProtocolError: .*tried 4 times") as caught:
        Wire(server.url, timeout=5, workers=1).get("/health")
    assert "\n" not in str(caught.value)


def test_a_redirection_is_not_followed_in_silence(server):
    server.tricks = ["moved"]
    with pytest.raises(SubjectProblem, match="refused with status 302"):
        Wire(server.url, timeout=5, workers=1).get("/health")
    assert server.asked == 1


def test_after_a_failure_no_question_is_left(server):
    wire, answered = Wire(server.url, timeout=5, workers=2), []

    def ask(number: int) -> int:
        if number == 3:
            raise SubjectProblem("the third")
        wire.get("/health")
        time.sleep(0.02 if number > 3 else 0)
        answered.append(number)
        return number

    assert wire.together(ask, [0, 1, 2]) == [0, 1, 2]
    with pytest.raises(SubjectProblem, match="the third"):
        wire.together(ask, range(200))
    done = len(answered)
    time.sleep(0.1)
    assert len(answered) == done
    assert done < 199


def repeated(start: bytes, piece: bytes, pause: float = 0.0):
    """Return a trick that sends a start and then a piece again and again, as long as anybody takes it."""

    def trick(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(piece)
            time.sleep(pause)

    return trick


OK = b"HTTP/1.1 200 OK\r\n"
HOSTILE = {
    "a status line that drips": (repeated(b"HTTP/1.1 2", b"0", 0.05), "gave no answer within 0.4 s"),
    "a head that drips": (repeated(OK + b"X-A: ", b"a", 0.05), "gave no answer within 0.4 s"),
    "answers of status 103 that drip": (repeated(b"", b"HTTP/1.1 103 Early\r\n\r\n", 0.05), "gave no answer within"),
    "a flood of answers of status 103": (
        repeated(b"", b"HTTP/1.1 103 Early\r\n\r\n" * 1000), "more than 1048576 bytes|gave no answer within",
    ),
    "chunk extensions that drip": (
        repeated(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a", 0.05), "gave no answer within",
    ),
    "a chunk extension without end": (
        repeated(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a" * 10_000), "RemoteProtocolError|1048576 bytes",
    ),
    "tiny chunks with long extensions": (
        repeated(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"a" * 9000 + b"\r\n \r\n"),
        "more than 1048576 bytes",
    ),
    "a body without end": (repeated(OK + b"\r\n", b" " * 10_000), "more than 1048576 bytes"),
    "a head without end": (repeated(OK, b"X-A: " + b"a" * 1000 + b"\r\n"), "RemoteProtocolError|1048576 bytes"),
    "no answer at all": (lambda _: time.sleep(3), "gave no answer within 0.4 s"),
    "something else": (repeated(b"SSH-2.0-OpenSSH\r\n", b"x" * 1000), "RemoteProtocolError"),
}  # fmt: skip


@pytest.mark.parametrize("how", HOSTILE)
def test_an_answer_that_never_ends_is_given_up_in_time_and_in_size(monkeypatch, how):
    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(http_client, "TRIES", 2)
    trick, message = HOSTILE[how]
    listening = socket.create_server(("127.0.0.1", 0))
    sent = []

    def serve() -> None:
        with contextlib.suppress(OSError):  # closed at the end of the test
            while True:
                connection, _ = listening.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(2**16)
                    sent.append(1)
                    trick(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with pytest.raises(SubjectProblem, match=message) as caught:
        Wire(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=0.4, workers=1).get("/health")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    assert sent
    listening.close()


def test_a_service_that_does_not_read_is_given_up(monkeypatch):
    monkeypatch.setattr(http_client, "TRIES", 1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        wire = Wire(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=0.4, workers=1)
        with pytest.raises(SubjectProblem, match="gave no answer within"):
            wire.upload("/predict", bytes(2**25))


def test_a_redirection_says_where_it_points(server):
    server.tricks = ["moved"]
    with pytest.raises(SubjectProblem, match=r"status 302 \(it points to 'http://elsewhere/health'; give the address"):
        Wire(server.url, timeout=5, workers=1).get("/health")


def test_a_proxy_of_the_environment_is_used_or_named(server, monkeypatch):
    """Never for this machine's own services; for others the way leads through it."""
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.url)
    assert Wire("http://service.invalid", timeout=5, workers=1).get("/health") == {"status": "ok"}
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
    with pytest.raises(SubjectProblem, match="only http and https proxies"):
        Wire("http://service.invalid", timeout=5, workers=1)
    assert Wire(server.url, timeout=5, workers=1).get("/health") == {"status": "ok"}


@settings(max_examples=60)
@given(st.binary(max_size=300))
def test_any_bytes_as_an_answer_are_an_answer_or_one_line(body):
    told = ""
    try:
        reading = service_answer.read(http_client._parsed(body, "http://h: GET /health"), "http://h")
        assert abs(reading.probabilities.sum() - 1) < 0.1
    except SubjectProblem as problem:
        told = str(problem)
    assert (told or "an answer").isprintable()
    assert len(told) < 300
