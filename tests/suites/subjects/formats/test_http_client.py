"""The wire to a service, against servers that drip, cut and refuse: faults that no web framework would produce."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats import http_client
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
